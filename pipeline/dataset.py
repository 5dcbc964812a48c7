"""Cached embeddings as tensors: clips side by side, a mask where a clip has no token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_manifest.manifest import Clip, Exclusion
from pipeline.errors import TrainingError
from pipeline.store import FeatureStore, Padded


class Tokens(NamedTuple):
    """One modality of n clips: values (n, T, D), times (n, T) in seconds, mask (n, T), True on tokens."""

    values: Tensor
    times: Tensor
    mask: Tensor

    @property
    def present(self) -> Tensor:
        """Whether each clip has this modality at all, (n,)."""
        return self.mask.any(1)

    def take(self, index: Tensor) -> "Tokens":
        """Return some of the clips."""
        return Tokens(self.values[index], self.times[index], self.mask[index])


@dataclass(frozen=True)
class Examples:
    """Clips with both their modalities and their labels (n,), which count into the order of classes."""

    visual: Tokens
    acoustic: Tokens
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.labels)

    def take(self, index: Tensor) -> "Examples":
        """Return some of the clips."""
        return Examples(self.visual.take(index), self.acoustic.take(index), self.labels[index])


def load_examples(
    clips: Sequence[Clip], classes: Sequence[str], visual: FeatureStore, acoustic: FeatureStore
) -> Examples:
    """Return the clips in the order given."""
    clip_ids = [clip.clip_id for clip in clips]
    labels = torch.tensor([classes.index(clip.emotion) for clip in clips])
    return Examples(_tokens(visual, clip_ids), _tokens(acoustic, clip_ids), labels)


def _tokens(store: FeatureStore, clip_ids: list[str]) -> Tokens:
    padded: Padded = store.load(clip_ids)
    if not np.isfinite(padded.values).all():
        raise TrainingError(f"{store.reader.path} holds numbers that are not finite; make it again")
    return Tokens(*map(torch.from_numpy, padded))


def usable(clips: Sequence[Clip], visual: FeatureStore, acoustic: FeatureStore) -> tuple[list[Clip], list[Exclusion]]:
    """Return the clips that have at least one token, and the others with the reason why they have none."""
    excluded = dict[str, str](visual.attributes["excluded"]) | dict(acoustic.attributes["excluded"])
    filled = {clip_id for store in (visual, acoustic) for clip_id in store.filled()} - excluded.keys()
    failed = dict[str, str](visual.attributes["failures"]) | dict(acoustic.attributes["failures"]) | excluded
    left_out = [
        Exclusion(
            clip.clip_id,
            clip.path,
            "train",
            failed.get(clip.clip_id, "neither a face nor sound was found in it"),
        )
        for clip in clips
        if clip.clip_id not in filled
    ]
    return [clip for clip in clips if clip.clip_id in filled], left_out
