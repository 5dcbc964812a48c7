"""What a new head has to beat: one modality, late fusion, a linear classifier, the most frequent class."""

from typing import Literal, cast

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from pipeline.dataset import Examples, Tokens
from pipeline.heads.contract import Dropout, Head, HeadConfig, HeadOutput, Shapes, Standardise, masked_mean
from pipeline.heads.fdan import Encoder, feed_forward, layer_outputs

ITERATIONS = 1000


class Single(Head):
    """One modality by itself: encoder, mean over the clip, feed-forward network, classifier."""

    def __init__(self, config: HeadConfig, shapes: Shapes, *, modality: Literal["visual", "acoustic"]) -> None:
        """Build for the modality's tokens."""
        super().__init__()
        self.modality = modality
        self.encode = Encoder(getattr(shapes, modality), config)
        self.ffn = feed_forward(config)
        self.classify = nn.Linear(config.width, shapes.classes)

    def fit(self, examples: Examples) -> None:
        """Measure the scale of the tokens."""
        self.encode.standardise.fit(getattr(examples, self.modality))

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) of one modality."""
        tokens = visual if self.modality == "visual" else acoustic
        features = layer_outputs(self.ffn, masked_mean(self.encode(tokens), tokens.mask))[-1]
        logits = self.classify(features)
        if self.modality == "visual":
            return HeadOutput(logits, None, [], [])
        return HeadOutput(None, logits, [], [])


class Concat(Head):
    """Late fusion: the means of both modalities' tokens side by side into a feed-forward network.

    Alone, a modality stands beside zeros, which the standardised mean of all clips is; trained so, too.
    """

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes."""
        super().__init__()
        self.scale_visual, self.scale_acoustic = Standardise(shapes.visual), Standardise(shapes.acoustic)
        self.project = nn.Sequential(
            nn.Linear(shapes.visual + shapes.acoustic, config.width), nn.GELU(), Dropout(config.dropout)
        )
        self.ffn = feed_forward(config)
        self.classify = nn.Linear(config.width, shapes.classes)

    def fit(self, examples: Examples) -> None:
        """Measure the scale of the tokens."""
        self.scale_visual.fit(examples.visual)
        self.scale_acoustic.fit(examples.acoustic)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) of each modality and of both."""
        seen = masked_mean(self.scale_visual(visual.values), visual.mask)  # 0 where there is none
        heard = masked_mean(self.scale_acoustic(acoustic.values), acoustic.mask)
        parts = ((seen, 0 * heard), (0 * seen, heard), (seen, heard))
        alone, other, both = (self._logits(torch.cat(part, 1)) for part in parts)
        return HeadOutput(alone, other, [], [], fused=both)

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classify(layer_outputs(self.ffn, self.project(features))[-1])
        return logits


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


class Majority(Head):
    """Always the most frequent class of the training part, whatever the clip."""

    frequencies: Tensor

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Know nothing yet."""
        super().__init__()
        self.register_buffer("frequencies", torch.ones(shapes.classes))

    def fit(self, examples: Examples) -> None:
        """Count the classes."""
        self.frequencies.copy_(torch.bincount(examples.labels, minlength=len(self.frequencies)))

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Any B clips to logits (B, C), alike for all."""
        logits = (self.frequencies / self.frequencies.sum()).log().expand(len(visual.values), -1)
        return HeadOutput(logits, logits, [], [], fused=logits)
