"""Protocols of evaluation: how clips are dealt over training, validation and test.

Each is a model of parameters that makes `Split`s. Validation speakers come out of the training part, so that
nothing is ever chosen on the test part.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from data_manifest.manifest.clips import Clip
from data_manifest.splits.split import Clips, Split
from pipeline.base.errors import CorpusError
from pipeline.base.params import Config
from pipeline.base.selection import shorten

RAVDESS_GROUPS = {  # of actors, as others have published them
    "ravdess_6": ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22)),
    "ravdess_5": (
        (2, 5, 14, 15, 16),
        (3, 6, 7, 13, 18),
        (10, 11, 12, 19, 20),
        (8, 17, 21, 23, 24),
        (1, 4, 9, 22),
    ),
}
NAMED_GROUPS = ("each_speaker", *RAVDESS_GROUPS)
LEAST_SPEAKERS = 3
PARTS = {"train": "train", "dev": "validation", "val": "validation", "validation": "validation", "test": "test"}


class Protocol(Config):
    """What all protocols have."""

    validation: float = Field(0.2, gt=0, le=0.5)
    """Share of the training part that is held out for validation."""
    seed: int = Field(0, ge=0)
    """Seed of the draw."""

    def _divide(self, clips: Clips, fold: int, keys: Sequence[str], what: str) -> tuple[Clips, Clips]:
        """Return what trains and what validates: whole groups of clips with one key."""
        if len(set(keys)) < 2:
            raise CorpusError(
                f"fold {fold} leaves one {what} for both training and validation; there are too few for this protocol"
            )
        parts = max(2, round(1 / self.validation))
        chosen = deal_groups(keys, parts, np.random.default_rng([self.seed, fold + 1])) == 0
        return _where(clips, ~chosen), _where(clips, chosen)


class SpeakerFolds(Protocol):
    """Groups of speakers: no speaker is in two parts. The groups are drawn, or given."""

    kind: Literal["speaker_folds"]
    folds: int = Field(5, ge=2)
    """Number of folds; not together with `groups`."""
    groups: Any = None
    """`each_speaker`, `ravdess_5`, `ravdess_6`, or lists of speakers, one fold each; null: drawn at random."""

    @field_validator("groups")
    @classmethod
    def _named_or_lists(cls, value: Any) -> Any:
        if value is None or value in NAMED_GROUPS:
            return value
        if not isinstance(value, list) or not all(isinstance(group, list) and group for group in value):
            raise ValueError(f"valid: {', '.join(NAMED_GROUPS)}, or a list of lists of speakers")
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> "SpeakerFolds":
        if self.groups is not None and "folds" in self.model_fields_set:
            raise ValueError("folds and groups are both given; there is one fold for each group")
        return self

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield one split a group of speakers."""
        speakers = [clip.speaker for clip in clips]
        there = len(set(speakers))
        if there < LEAST_SPEAKERS:
            raise CorpusError(f"training, validation and test need a speaker each; there are {there}")
        if self.groups is None or self.groups == "each_speaker":
            folds = self.folds if self.groups is None else there
            if there < folds:
                raise CorpusError(f"{folds} folds need at least {folds} speakers; there are {there}")
            fold_of = deal_groups(speakers, folds, np.random.default_rng(self.seed))
        else:
            published = isinstance(self.groups, str)
            fold_of = _given(speakers, RAVDESS_GROUPS[self.groups] if published else self.groups, published=published)
        for fold in range(fold_of.max() + 1):
            rest = _where(clips, fold_of != fold)
            train, validation = self._divide(rest, fold, [clip.speaker for clip in rest], "speaker")
            yield Split(name, fold, train, validation, _where(clips, fold_of == fold))


class RandomFolds(Protocol):
    """Clips at random, each emotion spread over the folds. Speakers are shared: figures are too good."""

    kind: Literal["random"]
    folds: int = Field(5, ge=2)
    """Number of folds."""

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield one split a fold; five folds are five times 80/20."""
        fold_of = deal_evenly([clip.emotion for clip in clips], self.folds, np.random.default_rng(self.seed))
        for fold in range(self.folds):
            rest = _where(clips, fold_of != fold)
            rng = np.random.default_rng([self.seed, fold + 1])
            chosen = deal_evenly([clip.emotion for clip in rest], max(2, round(1 / self.validation)), rng) == 0
            train, validation = _where(rest, ~chosen), _where(rest, chosen)
            yield Split(name, fold, train, validation, _where(clips, fold_of == fold), speakers_shared=True)


class SentenceFolds(Protocol):
    """Text-independent: no sentence of the test part is in another part. Speakers may be shared, and mostly are.

    Where the rest holds one sentence only (RAVDESS has two in all), validation is done by other speakers.
    """

    kind: Literal["sentence_folds"]
    folds: int = Field(5, ge=2)
    """Number of folds."""

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield one split a group of sentences."""
        silent = [clip.clip_id for clip in clips if not clip.sentence]
        if silent:
            raise CorpusError(f"{len(silent)} clips have no sentence: {shorten(silent)}")
        sentences = [clip.sentence for clip in clips]
        there = len(set(sentences))
        if there < self.folds:
            raise CorpusError(f"{self.folds} folds need at least {self.folds} sentences; there are {there}")
        fold_of = deal_groups(sentences, self.folds, np.random.default_rng(self.seed))
        for fold in range(self.folds):
            rest, test = _where(clips, fold_of != fold), _where(clips, fold_of == fold)
            several = len({clip.sentence for clip in rest}) > 1
            keys = [clip.sentence if several else clip.speaker for clip in rest]
            train, validation = self._divide(rest, fold, keys, "speaker")
            shared = _speakers_shared(train, validation, test)
            yield Split(name, fold, train, validation, test, speakers_shared=shared, sentences_shared=False)


class Official(Protocol):
    """The corpus's own parts. MELD's share the cast; where parts share speakers, figures say so."""

    kind: Literal["official"]

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield the one split that there is; without an official validation part, speakers of training validate."""
        lost = [clip.clip_id for clip in clips if clip.split not in PARTS]
        if lost:
            raise CorpusError(f"{len(lost)} clips lie in no official part ({', '.join(PARTS)}): {shorten(lost)}")
        train, validation, test = (
            tuple(clip for clip in clips if PARTS[clip.split] == part) for part in ("train", "validation", "test")
        )
        if not validation:
            train, validation = self._divide(train, 0, [clip.speaker for clip in train], "speaker")
        yield Split(name, 0, train, validation, test, speakers_shared=_speakers_shared(train, validation, test))


class CrossCorpus(Protocol):
    """Train on some corpora, test on others, each by itself, on the emotions that both sides show."""

    kind: Literal["cross_corpus"]
    train: tuple[str, ...] = Field(min_length=1)
    """Corpora to train on."""
    test: tuple[str, ...] = Field(min_length=1)
    """Corpora to test on, one fold each."""

    @model_validator(mode="after")
    def _apart(self) -> "CrossCorpus":
        if both := sorted({*self.train} & {*self.test}):
            raise ValueError(f"{shorten(both)} cannot both train and test")
        return self

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield one split a test corpus."""
        there = {clip.corpus for clip in clips}
        if unknown := sorted({*self.train, *self.test} - there):
            raise CorpusError(f"no clip is of the corpus {shorten(unknown)}; there are {shorten(sorted(there))}")
        training = [clip for clip in clips if clip.corpus in self.train]
        for fold, corpus in enumerate(self.test):
            tested = [clip for clip in clips if clip.corpus == corpus]
            shared = {clip.emotion for clip in training} & {clip.emotion for clip in tested}
            if len(shared) < 2:
                raise CorpusError(f"{corpus} and the training corpora share {shorten(sorted(shared)) or 'no emotion'}")
            rest, test = (tuple(clip for clip in part if clip.emotion in shared) for part in (training, tested))
            train, validation = self._divide(rest, fold, [clip.speaker for clip in rest], "speaker")
            yield Split(name, fold, train, validation, test)


ProtocolConfig = Annotated[
    SpeakerFolds | RandomFolds | SentenceFolds | Official | CrossCorpus, Field(discriminator="kind")
]


def make_splits(clips: Sequence[Clip], name: str, config: ProtocolConfig) -> list[Split]:
    """Return one split a fold, whatever the order of `clips`."""
    ordered = tuple(sorted(clips, key=lambda clip: clip.clip_id))
    try:
        return list(config.splits(ordered, name))
    except CorpusError as error:
        raise CorpusError(f"protocols.{name}: {error}") from error


def deal_evenly(labels: Sequence[str], parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal the members of each label over the parts in turn; return the part of each, (n,)."""
    _, index = _numbered(labels)
    order = rng.permutation(len(labels))
    by_label = order[np.argsort(index[order], kind="stable")]
    dealt = np.empty(len(labels), np.int64)
    dealt[by_label] = np.arange(len(labels)) % parts
    return dealt


def deal_groups(keys: Sequence[str], parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal whole groups over the parts, the largest first, each to the part that has least; return (n,)."""
    names, index = _numbered(keys)
    sizes = np.bincount(index)
    shuffled = rng.permutation(len(names))
    filled, part_of = np.zeros(parts, np.int64), np.empty(len(names), np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        part_of[group] = filled.argmin()
        filled[part_of[group]] += sizes[group]
    return np.asarray(part_of[index])


def _numbered(keys: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct keys, sorted, and each key's place among them."""
    names = sorted(set(keys))
    place = {name: number for number, name in enumerate(names)}
    return names, np.asarray([place[key] for key in keys])


def _given(speakers: Sequence[str], groups: Sequence[Sequence[Any]], *, published: bool) -> NDArray[np.int64]:
    """Return the fold of each clip, (n,). Of published groups, speakers may be missing: a corpus may be incomplete."""
    fold_of: dict[str, int] = {}
    everyone = sorted(set(speakers))
    for fold, group in enumerate(groups):
        for wanted in group:
            found = {speaker for speaker in everyone if _same(speaker, wanted)}
            if not found and not published:
                raise CorpusError(f"groups: no speaker {wanted!r}; there are {shorten(everyone)}")
            if len(found) > 1 or found & fold_of.keys():
                raise CorpusError(f"groups: {wanted!r} is named twice, or means {shorten(sorted(found))}")
            fold_of |= dict.fromkeys(found, fold)
    if left := [it for it in everyone if it not in fold_of]:
        raise CorpusError(f"groups: {shorten(left)} is in no group")
    there, index = np.unique([fold_of[speaker] for speaker in speakers], return_inverse=True)
    if len(there) < 2:
        raise CorpusError("groups: fewer than two groups have a clip")
    return np.asarray(index)


def _same(speaker: str, wanted: Any) -> bool:
    """Return whether a group's entry means this speaker: `ravdess/01`, `01` or 1."""
    own = speaker.partition("/")[2]
    return wanted in (speaker, own) or (own.isdecimal() and str(wanted).isdecimal() and int(own) == int(wanted))


def _speakers_shared(*parts: Clips) -> bool:
    distinct = [{clip.speaker for clip in part} for part in parts]
    return len(set.union(*distinct)) < sum(map(len, distinct))


def _where(clips: Clips, chosen: NDArray[np.bool_]) -> Clips:
    return tuple(clips[index] for index in np.flatnonzero(chosen))
