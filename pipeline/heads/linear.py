"""What a new head has to beat: one modality, late fusion, a linear classifier, the most frequent class."""

from typing import cast

import torch
from torch import Tensor, nn

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples, Tokens
from pipeline.heads.layers import Standardise, masked_mean

ITERATIONS = 1000


class Linear(Head):
    """Scikit-learn's logistic regression on the means of the tokens: of each modality, and of both side by side."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build untrained; `fit` does all."""
        super().__init__()
        self.scale_visual, self.scale_acoustic = Standardise(shapes.visual), Standardise(shapes.acoustic)
        widths = {"visual": shapes.visual, "acoustic": shapes.acoustic, "both": shapes.visual + shapes.acoustic}
        self.layers = nn.ModuleDict({name: nn.Linear(width, shapes.classes) for name, width in widths.items()})
        self.requires_grad_(False)

    def fit(self, examples: Examples) -> None:
        """Fit each on the clips that have what it reads; a class that none of them shows is never answered."""
        self.scale_visual.fit(examples.visual)
        self.scale_acoustic.fit(examples.acoustic)
        seen, heard = examples.visual.present, examples.acoustic.present
        features = self._features(examples.visual, examples.acoustic)
        for (name, layer), present in zip(self.layers.items(), (seen, heard, seen & heard), strict=True):
            self._fit(cast(nn.Linear, layer), features[name][present], examples.labels[present])

    def _fit(self, layer: nn.Linear, features: Tensor, labels: Tensor) -> None:
        layer.weight.zero_()
        layer.bias.copy_(torch.bincount(labels, minlength=len(layer.bias)).log())
        if len(labels.unique()) > 1:
            from sklearn.linear_model import LogisticRegression  # slow to import

            model = LogisticRegression(max_iter=ITERATIONS).fit(features.numpy(), labels.numpy())
            known = torch.from_numpy(model.classes_)
            if len(known) == 2:  # there is one row then: how much speaks for the second class
                known = known[1:]
                layer.bias[model.classes_[0]] = 0
            layer.weight[known] = torch.from_numpy(model.coef_).float()
            layer.bias[known] = torch.from_numpy(model.intercept_).float()

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) of each modality and of both."""
        answers = {name: self.layers[name](values) for name, values in self._features(visual, acoustic).items()}
        both = (visual.present & acoustic.present)[:, None]
        alone = torch.where(visual.present[:, None], answers["visual"], answers["acoustic"])
        return HeadOutput(
            answers["visual"], answers["acoustic"], [], [], fused=torch.where(both, answers["both"], alone)
        )

    def _features(self, visual: Tokens, acoustic: Tokens) -> dict[str, Tensor]:
        seen = masked_mean(self.scale_visual(visual.values), visual.mask)
        heard = masked_mean(self.scale_acoustic(acoustic.values), acoustic.mask)
        return {"visual": seen, "acoustic": heard, "both": torch.cat([seen, heard], 1)}
