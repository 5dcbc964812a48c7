"""What the closed-form baselines share: mean tokens as features, and a strength chosen on speakers left out."""

from abc import abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.layers import Standardise, masked_mean
from pipeline.store.tokens import Tokens, TokenSource

GROUPS = 5  # of speakers, or of clips of a single one: each is left out once to choose the strength


class LinearBaseline(Head):
    """A linear classifier of the mean tokens of each modality, and one of both concatenated.

    How strongly each is regularised is chosen inside the training part, by UAR on speakers left out.
    """

    strengths: tuple[float, ...]  # from the strongest regularisation to the weakest

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build untrained; `fit` does the training."""
        super().__init__()
        self.scale_visual, self.scale_acoustic = Standardise(shapes.visual), Standardise(shapes.acoustic)
        widths = {"visual": shapes.visual, "acoustic": shapes.acoustic, "both": shapes.visual + shapes.acoustic}
        self.layers = nn.ModuleDict({name: nn.Linear(width, shapes.classes) for name, width in widths.items()})
        self.register_buffer("chosen", torch.zeros(len(widths)))  # the strength, by layer
        self.requires_grad_(False)

    @abstractmethod
    def solve(
        self, features: Tensor, labels: Tensor, strengths: tuple[float, ...], classes: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Return weight (C, D) and bias (C,) at each strength, for features (n, D) and labels (n,) of C classes.

        At least two classes occur. The bias of one that does not occur is minus infinity.
        """

    def fit(self, examples: Examples) -> None:
        """Fit each classifier on the clips that have its modalities; a class without a clip is never predicted."""
        self.scale_visual.fit(examples.visual)
        self.scale_acoustic.fit(examples.acoustic)
        has_visual, has_acoustic = examples.visual.present, examples.acoustic.present
        present = {"visual": has_visual, "acoustic": has_acoustic, "both": has_visual & has_acoustic}
        chunks = [self._features(chunk.visual, chunk.acoustic) for chunk in examples.chunks()]
        groups = _groups(examples)
        for number, (name, module) in enumerate(self.layers.items()):
            rows, layer = present[name], cast(nn.Linear, module)
            features = torch.cat([chunk[name] for chunk in chunks])[rows]
            labels = examples.labels[rows]
            layer.weight.zero_()
            layer.bias.copy_(torch.bincount(labels, minlength=len(layer.bias)).log())
            if len(labels.unique()) > 1:
                strength = self._choose(features, labels, groups[rows], len(layer.bias))
                weight, bias = self.solve(features, labels, (strength,), len(layer.bias))[0]
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
                self.get_buffer("chosen")[number] = strength

    def _choose(self, features: Tensor, labels: Tensor, groups: Tensor, classes: int) -> float:
        """Return the strength with the best UAR over clips (n,) of groups (n,) left out, the strongest of several."""
        answers = torch.zeros(len(self.strengths), len(labels), dtype=torch.int64)
        for group in groups.unique():
            left_out = groups == group
            known = labels[~left_out]
            if len(known.unique()) > 1:
                solved = self.solve(features[~left_out], known, self.strengths, classes)
                for row, (weight, bias) in enumerate(solved):
                    answers[row, left_out] = (features[left_out] @ weight.T + bias).argmax(1)
        correct = (answers == labels).double()
        recalls = [correct[:, labels == label].mean(1) for label in labels.unique()]
        return self.strengths[int(torch.stack(recalls).mean(0).argmax())]

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


def _groups(examples: Examples) -> Tensor:
    """Return the group (n,) of each clip: of speakers, or of every fifth clip if there are not two speakers."""
    if examples.speakers is None or len(examples.speakers.unique()) < 2:
        return torch.arange(len(examples)) % GROUPS
    return examples.speakers.unique(return_inverse=True)[1] % GROUPS
