"""Speaker normalisation: tokens standardised by the statistics of all clips of the same speaker.

It uses no label, but the other clips of a speaker, also of one that is tested: figures with it are transductive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.base.errors import ParameterError
from pipeline.heads.examples import Examples
from pipeline.heads.layers import Standardise
from pipeline.store.tokens import Tokens, TokenSource
from pipeline.training.recipe import TrainConfig

TRANSDUCTIVE = (
    "train.speaker_normalisation: unlabelled clips of the test speakers standardise their tokens (transductive)"
)


@dataclass(frozen=True, eq=False)
class SpeakerTokens:
    """One modality of n clips, each standardised by its speaker's mean and deviation (speakers, D)."""

    source: TokenSource
    speakers: Tensor  # (n,)
    mean: Tensor
    std: Tensor

    @property
    def values(self) -> Tensor:
        """The padded tokens of all clips (n, T, D)."""
        return self.batches(torch.arange(len(self.speakers))).values

    @property
    def times(self) -> Tensor:
        """Seconds, (n, T)."""
        return self.source.times

    @property
    def mask(self) -> Tensor:
        """True on tokens, (n, T)."""
        return self.source.mask

    @property
    def present(self) -> Tensor:
        """Whether each clip has any token of this modality, (n,)."""
        return self.source.present

    @property
    def width(self) -> int:
        """D."""
        return self.source.width

    def to(self, device: torch.device) -> "SpeakerTokens":
        """Return the same tokens, whose batches are on a device."""
        return replace(self, source=self.source.to(device), mean=self.mean.to(device), std=self.std.to(device))

    def take(self, index: Tensor) -> "SpeakerTokens":
        """Return the clips at these indices, without reading them."""
        return replace(self, source=self.source.take(index), speakers=self.speakers[index.cpu()])

    def batches(self, index: Tensor, generators: Sequence[torch.Generator] | None = None) -> Tokens:
        """Return the clips at the indices of any shape; see `Tokens.batches`."""
        tokens = self.source.batches(index, generators)
        speakers = self.speakers[index.cpu()].to(self.mean.device)
        values = (tokens.values - self.mean[speakers].unsqueeze(-2)) / self.std[speakers].unsqueeze(-2)
        return Tokens(values.masked_fill(~tokens.mask[..., None], 0), tokens.times, tokens.mask)


def normalise_speakers(examples: Examples, config: TrainConfig) -> Examples:
    """Return all clips of a corpus with the tokens that a recipe trains on and predicts from."""
    if config.speaker_normalisation == "none":
        return examples
    if examples.speakers is None:
        raise ParameterError("train.speaker_normalisation: the speakers of the clips are unknown")
    visual, acoustic = (_normalise(it, examples.speakers) for it in (examples.visual, examples.acoustic))
    return replace(examples, visual=visual, acoustic=acoustic)


def _normalise(tokens: TokenSource, speakers: Tensor) -> SpeakerTokens:
    scales = []
    for speaker in range(int(speakers.max()) + 1):
        scale = Standardise(tokens.width)
        scale.fit(tokens.take((speakers == speaker).nonzero()[:, 0]))
        scales.append(scale)
    return SpeakerTokens(
        tokens, speakers, torch.stack([it.mean for it in scales]), torch.stack([it.std for it in scales])
    )
