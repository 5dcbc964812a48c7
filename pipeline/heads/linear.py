"""The baseline `linear`: logistic regression on mean tokens."""

import torch
from torch import Tensor

from pipeline.heads.baseline import LinearBaseline

ITERATIONS = 1000


class LinearHead(LinearBaseline):
    """Scikit-learn's logistic regression; C is chosen on speakers left out."""

    strengths = (1e-3, 1e-2, 1e-1, 1.0)  # C

    def solve(
        self, features: Tensor, labels: Tensor, strengths: tuple[float, ...], classes: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Return weight and bias for each C."""
        from sklearn.linear_model import LogisticRegression  # slow to import

        solved = []
        for strength in strengths:
            model = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(features.numpy(), labels.numpy())
            weight = torch.zeros(classes, features.shape[1])
            bias = torch.bincount(labels, minlength=classes).log()
            fitted = torch.from_numpy(model.classes_)
            if len(fitted) == 2:  # two classes have one row: the logit of the second class against the first
                fitted = fitted[1:]
                bias[model.classes_[0]] = 0
            weight[fitted] = torch.from_numpy(model.coef_).float()
            bias[fitted] = torch.from_numpy(model.intercept_).float()
            solved.append((weight, bias))
        return solved
