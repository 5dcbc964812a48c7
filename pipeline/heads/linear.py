"""The baseline `linear`: logistic regression on mean tokens."""

from typing import cast

import torch
from torch import Tensor, nn

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.layers import Standardise, masked_mean
from pipeline.store.tokens import Tokens, TokenSource

ITERATIONS = 1000


class LinearHead(Head):
    """Scikit-learn's logistic regression on the mean tokens of each modality, and of both concatenated."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build untrained; `fit` does the training."""
        super().__init__()
        self.scale_visual, self.scale_acoustic = Standardise(shapes.visual), Standardise(shapes.acoustic)
        widths = {"visual": shapes.visual, "acoustic": shapes.acoustic, "both": shapes.visual + shapes.acoustic}
        self.layers = nn.ModuleDict({name: nn.Linear(width, shapes.classes) for name, width in widths.items()})
        self.requires_grad_(False)

    def fit(self, examples: Examples) -> None:
        """Fit each regression on the clips that have its modalities; a class without a clip is never predicted."""
        self.scale_visual.fit(examples.visual)
        self.scale_acoustic.fit(examples.acoustic)
        has_visual, has_acoustic = examples.visual.present, examples.acoustic.present
        present = {"visual": has_visual, "acoustic": has_acoustic, "both": has_visual & has_acoustic}
        chunks = [self._features(chunk.visual, chunk.acoustic) for chunk in examples.chunks()]
        features = {name: torch.cat([chunk[name] for chunk in chunks]) for name in present}
        for name, layer in self.layers.items():
            self._fit(cast(nn.Linear, layer), features[name][present[name]], examples.labels[present[name]])

    def _fit(self, layer: nn.Linear, features: Tensor, labels: Tensor) -> None:
        layer.weight.zero_()
        layer.bias.copy_(torch.bincount(labels, minlength=len(layer.bias)).log())
        if len(labels.unique()) > 1:
            from sklearn.linear_model import LogisticRegression  # slow to import

            model = LogisticRegression(max_iter=ITERATIONS).fit(features.numpy(), labels.numpy())
            fitted = torch.from_numpy(model.classes_)
            if len(fitted) == 2:  # two classes have one row: the logit of the second class against the first
                fitted = fitted[1:]
                layer.bias[model.classes_[0]] = 0
            layer.weight[fitted] = torch.from_numpy(model.coef_).float()
            layer.bias[fitted] = torch.from_numpy(model.intercept_).float()

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) of each modality and of both."""
        logits = {name: self.layers[name](values) for name, values in self._features(visual, acoustic).items()}
        has_both = (visual.present & acoustic.present)[:, None]
        single = torch.where(visual.present[:, None], logits["visual"], logits["acoustic"])
        fused = torch.where(has_both, logits["both"], single)
        return HeadOutput(logits["visual"], logits["acoustic"], [], [], fused=fused)

    def _features(self, visual: TokenSource, acoustic: TokenSource) -> dict[str, Tensor]:
        visual_mean = masked_mean(self.scale_visual(visual.values), visual.mask)
        acoustic_mean = masked_mean(self.scale_acoustic(acoustic.values), acoustic.mask)
        both = torch.cat([visual_mean, acoustic_mean], 1)
        return {"visual": visual_mean, "acoustic": acoustic_mean, "both": both}
