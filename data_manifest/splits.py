"""Which clips train, validate and test: made in one place, and checked when made.

Splits are made of whole clips before anything is cut into frames or windows. Validation speakers come out of the
training part, so that nothing is ever chosen on the test part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import Field

from data_manifest.manifest import Clip
from pipeline.errors import CorpusError
from pipeline.params import Config

Clips = tuple[Clip, ...]


class ProtocolConfig(Config):
    """An entry of the section `protocols`."""

    kind: Literal["speaker_folds", "random"]
    folds: int = Field(5, ge=2)
    validation: float = Field(0.2, gt=0, lt=1)  # the share of the training part
    seed: int = 0


@dataclass(frozen=True)
class Split:
    """Three disjoint parts; unless the protocol shares speakers, no speaker is in two of them."""

    protocol: str
    fold: int
    train: Clips
    validation: Clips
    test: Clips
    speakers_shared: bool

    def __post_init__(self) -> None:
        """Refuse to exist with a leak, or with a class that training never sees."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        for name, part in parts.items():
            if not part:
                raise CorpusError(f"{self}: the {name} part is empty; use fewer folds or more clips")
        keys: dict[str, Callable[[Clip], str]] = {
            "clips": lambda clip: clip.clip_id,
            "media": lambda clip: clip.sha256,
        }
        if not self.speakers_shared:
            keys["speakers"] = lambda clip: clip.speaker
        for (one, first), (other, second) in combinations(parts.items(), 2):
            for what, key in keys.items():
                common = {key(clip) for clip in first} & {key(clip) for clip in second}
                offenders = sorted({clip.clip_id for clip in first + second if key(clip) in common})
                if offenders:
                    raise CorpusError(f"{self}: the same {what} in {one} and {other}: {', '.join(offenders[:6])}")
        unseen = {clip.emotion for clip in self.test + self.validation} - {clip.emotion for clip in self.train}
        if unseen:
            raise CorpusError(f"{self}: training never sees {', '.join(sorted(unseen))}; use fewer folds")

    def __str__(self) -> str:
        """Return the protocol and the fold."""
        return f"{self.protocol}, fold {self.fold}"


def make_splits(clips: Sequence[Clip], name: str, config: ProtocolConfig) -> list[Split]:
    """Return one split a fold; together their test parts hold every clip once.

    The order of `clips` does not matter.
    """
    ordered = tuple(sorted(clips, key=lambda clip: clip.clip_id))
    shared = config.kind == "random"
    groups = [clip.emotion if shared else clip.speaker for clip in ordered]
    if not shared and len(set(groups)) < config.folds:
        there = f"there are {len(set(groups))}"
        raise CorpusError(f"protocols.{name}: {config.folds} folds need at least {config.folds} speakers; {there}")
    splits = []
    deal = _stratified if shared else _grouped
    parts = deal(groups, config.folds, np.random.default_rng(config.seed))
    for fold in range(config.folds):
        rest = np.flatnonzero(parts != fold)
        if not shared and len({groups[index] for index in rest}) < 2:
            raise CorpusError(
                f"protocols.{name}: fold {fold} leaves one speaker for both training and validation; use more folds"
            )
        rng = np.random.default_rng([config.seed, fold + 1])
        pieces = max(2, round(1 / config.validation))
        chosen = deal([groups[index] for index in rest], pieces, rng) == 0
        train, validation, test = (
            tuple(ordered[index] for index in part)
            for part in (rest[~chosen], rest[chosen], np.flatnonzero(parts == fold))
        )
        splits.append(Split(name, fold, train, validation, test, shared))
    return splits


def _stratified(labels: Sequence[str], parts: int, rng: np.random.Generator) -> np.ndarray:
    """Deal the members of each label over the parts in turn; return the part of each, (n,)."""
    order = rng.permutation(len(labels))
    by_label = order[np.argsort(np.asarray(labels)[order], kind="stable")]
    dealt = np.empty(len(labels), np.int64)
    dealt[by_label] = np.arange(len(labels)) % parts
    return dealt


def _grouped(groups: Sequence[str], parts: int, rng: np.random.Generator) -> np.ndarray:
    """Deal whole groups over the parts, the largest first, each to the part that has least; return (n,)."""
    names, inverse, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(names))
    filled, part_of = np.zeros(parts, np.int64), np.empty(len(names), np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        part_of[group] = filled.argmin()
        filled[part_of[group]] += sizes[group]
    return part_of[inverse]
