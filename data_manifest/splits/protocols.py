"""Evaluation protocols: how clips are divided into training, validation and test.

Each protocol is a parameter model that makes `Split`s. Validation clips are taken from the training part, so that
nothing is ever selected on the test part.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from data_manifest.manifest.clips import Clip
from data_manifest.splits.split import Clips, Split
from pipeline.base.errors import CorpusError
from pipeline.base.params import Config, Seed
from pipeline.base.selection import shorten

RAVDESS_GROUPS = {  # published folds of actors
    "ravdess_6": ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22)),
    "ravdess_5": (
        (2, 5, 14, 15, 16),
        (3, 6, 7, 13, 18),
        (10, 11, 12, 19, 20),
        (8, 17, 21, 23, 24),
        (1, 4, 9, 22),
    ),
}
GROUP_NAMES = ("each_speaker", *RAVDESS_GROUPS)
MIN_SPEAKERS = 3
PARTS = {"train": "train", "dev": "validation", "val": "validation", "validation": "validation", "test": "test"}


class Protocol(Config):
    """The parameters that all protocols share."""

    corpora: tuple[str, ...] = Field((), max_length=1000)
    """The corpora whose clips take part, by their names in the section `corpora`; empty: all."""
    validation: float = Field(0.2, ge=0.001, le=0.5)
    """Share of the training part that is held out for validation."""
    seed: Seed = 0
    """Seed of the random folds."""

    def _split_validation(self, clips: Clips, fold: int, keys: Sequence[str], what: str) -> tuple[Clips, Clips]:
        """Return the training and the validation clips; clips with the same key stay together."""
        if len(set(keys)) < 2:
            raise CorpusError(
                f"fold {fold} leaves only one {what} for training and validation; use fewer folds or another protocol"
            )
        parts = max(2, round(1 / self.validation))
        is_validation = assign_group_folds(keys, parts, np.random.default_rng([self.seed, fold + 1])) == 0
        return _select(clips, ~is_validation), _select(clips, is_validation)


class SpeakerFolds(Protocol):
    """Speaker-independent folds: no speaker is in two parts. The groups of speakers are random or given."""

    kind: Literal["speaker_folds"]
    folds: int = Field(5, ge=2, le=10_000)
    """Number of folds; not together with `groups`."""
    groups: Any = None
    """`each_speaker`, `ravdess_5`, `ravdess_6`, or lists of speakers, one fold each; null: random folds."""

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, value: Any) -> Any:
        if value is None or value in GROUP_NAMES:
            return value
        if not isinstance(value, list) or not all(isinstance(group, list) and group for group in value):
            raise ValueError(f"valid: {', '.join(GROUP_NAMES)}, or a list of lists of speakers")
        return value

    @model_validator(mode="after")
    def _refuse_folds_with_groups(self) -> "SpeakerFolds":
        if self.groups is not None and "folds" in self.model_fields_set:
            raise ValueError("folds and groups are both given; remove folds, since each group is one fold")
        return self

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield one split for each group of speakers."""
        speakers = [clip.speaker for clip in clips]
        count = len(set(speakers))
        if count < MIN_SPEAKERS:
            raise CorpusError(f"training, validation and test need a speaker each; the clips have {count}")
        if self.groups is None or self.groups == "each_speaker":
            folds = self.folds if self.groups is None else count
            if count < folds:
                raise CorpusError(f"{folds} folds need at least {folds} speakers; the clips have {count}")
            fold_of_clip = assign_group_folds(speakers, folds, np.random.default_rng(self.seed))
        else:
            is_published = isinstance(self.groups, str)
            groups = RAVDESS_GROUPS[self.groups] if is_published else self.groups
            fold_of_clip = _assign_given_groups(speakers, groups, may_lack_speakers=is_published)
        for fold in range(fold_of_clip.max() + 1):
            rest = _select(clips, fold_of_clip != fold)
            train, validation = self._split_validation(rest, fold, [clip.speaker for clip in rest], "speaker")
            yield Split(name, fold, train, validation, _select(clips, fold_of_clip == fold))


class RandomFolds(Protocol):
    """Random folds, stratified by emotion. Parts share speakers, so results are too optimistic."""

    kind: Literal["random"]
    folds: int = Field(5, ge=2, le=10_000)
    """Number of folds."""

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield one split per fold; five folds give five 80/20 splits."""
        rng = np.random.default_rng(self.seed)
        fold_of_clip = assign_stratified_folds([clip.emotion for clip in clips], self.folds, rng)
        for fold in range(self.folds):
            rest = _select(clips, fold_of_clip != fold)
            rng = np.random.default_rng([self.seed, fold + 1])
            parts = max(2, round(1 / self.validation))
            is_validation = assign_stratified_folds([clip.emotion for clip in rest], parts, rng) == 0
            train, validation = _select(rest, ~is_validation), _select(rest, is_validation)
            yield Split(name, fold, train, validation, _select(clips, fold_of_clip == fold), speakers_shared=True)


class SentenceFolds(Protocol):
    """Text-independent folds: no sentence of the test part is in another part. Parts may share speakers.

    If only one sentence remains outside the test part (RAVDESS has two in all), validation uses other speakers instead.
    """

    kind: Literal["sentence_folds"]
    folds: int = Field(5, ge=2, le=10_000)
    """Number of folds."""

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield one split for each group of sentences."""
        unlabelled = [clip.clip_id for clip in clips if not clip.sentence]
        if unlabelled:
            raise CorpusError(f"{len(unlabelled)} clips have no sentence: {shorten(unlabelled)}")
        sentences = [clip.sentence for clip in clips]
        count = len(set(sentences))
        if count < self.folds:
            raise CorpusError(f"{self.folds} folds need at least {self.folds} sentences; the clips have {count}")
        fold_of_clip = assign_group_folds(sentences, self.folds, np.random.default_rng(self.seed))
        for fold in range(self.folds):
            rest, test = _select(clips, fold_of_clip != fold), _select(clips, fold_of_clip == fold)
            by_sentence = len({clip.sentence for clip in rest}) > 1
            keys = [clip.sentence if by_sentence else clip.speaker for clip in rest]
            train, validation = self._split_validation(rest, fold, keys, "speaker")
            shared = _share_speakers(train, validation, test)
            yield Split(name, fold, train, validation, test, speakers_shared=shared, sentences_shared=False)


class Official(Protocol):
    """The official parts of the corpus. They may share speakers, as MELD's do; results then say so."""

    kind: Literal["official"]

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield one split; if the corpus has no validation part, take speakers of the training part."""
        unassigned = [clip.clip_id for clip in clips if clip.split not in PARTS]
        if unassigned:
            raise CorpusError(
                f"{len(unassigned)} clips are in no official part ({', '.join(PARTS)}): {shorten(unassigned)}"
            )
        train, validation, test = (
            tuple(clip for clip in clips if PARTS[clip.split] == part) for part in ("train", "validation", "test")
        )
        if not validation:
            train, validation = self._split_validation(train, 0, [clip.speaker for clip in train], "speaker")
        yield Split(name, 0, train, validation, test, speakers_shared=_share_speakers(train, validation, test))


class CrossCorpus(Protocol):
    """Train on some corpora and test on each of the others, using the emotions that both sides have."""

    kind: Literal["cross_corpus"]
    train: tuple[str, ...] = Field(min_length=1, max_length=1000)
    """Corpora to train on."""
    test: tuple[str, ...] = Field(min_length=1, max_length=1000)
    """Corpora to test on, one fold each."""

    @model_validator(mode="after")
    def _require_disjoint_corpora(self) -> "CrossCorpus":
        if shared := sorted({*self.train} & {*self.test}):
            raise ValueError(f"{shorten(shared)} cannot be in both train and test")
        return self

    def splits(self, clips: Clips, name: str) -> Iterator[Split]:
        """Yield one split per test corpus."""
        corpora = {clip.corpus for clip in clips}
        if unknown := sorted({*self.train, *self.test} - corpora):
            raise CorpusError(no_clip_of(unknown, corpora))
        training = [clip for clip in clips if clip.corpus in self.train]
        for fold, corpus in enumerate(self.test):
            tested = [clip for clip in clips if clip.corpus == corpus]
            shared = {clip.emotion for clip in training} & {clip.emotion for clip in tested}
            if len(shared) < 2:
                raise CorpusError(f"{corpus} and the training corpora share {shorten(sorted(shared)) or 'no emotion'}")
            rest, test = (tuple(clip for clip in part if clip.emotion in shared) for part in (training, tested))
            train, validation = self._split_validation(rest, fold, [clip.speaker for clip in rest], "speaker")
            yield Split(name, fold, train, validation, test)


ProtocolConfig = Annotated[
    SpeakerFolds | RandomFolds | SentenceFolds | Official | CrossCorpus, Field(discriminator="kind")
]


def no_clip_of(unknown: Sequence[str], corpora: Collection[str]) -> str:
    """Return the message about corpora that a protocol names although the manifest has no clip of them."""
    return f"no clip of the corpus {shorten(unknown)}; valid: {shorten(sorted(corpora))}"


def make_splits(clips: Sequence[Clip], name: str, config: ProtocolConfig) -> list[Split]:
    """Return one split per fold; the order of `clips` does not matter."""
    ordered = tuple(sorted(clips, key=lambda clip: clip.clip_id))
    corpora = {clip.corpus for clip in clips}
    if unknown := sorted({*config.corpora} - corpora):
        raise CorpusError(f"protocols.{name}.corpora: {no_clip_of(unknown, corpora)}")
    if config.corpora:
        ordered = tuple(clip for clip in ordered if clip.corpus in config.corpora)
    try:
        return list(config.splits(ordered, name))
    except CorpusError as error:
        raise CorpusError(f"protocols.{name}: {error}") from error


def assign_stratified_folds(labels: Sequence[str], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Assign the items of each label to folds at random and in equal numbers; return each item's fold, (n,)."""
    _, codes = _encode(labels)
    order = rng.permutation(len(labels))
    by_label = order[np.argsort(codes[order], kind="stable")]
    fold_of_item = np.empty(len(labels), np.int64)
    fold_of_item[by_label] = np.arange(len(labels)) % folds
    return fold_of_item


def assign_group_folds(groups: Sequence[str], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Assign whole groups to folds, largest first, each to the smallest fold so far; return each item's fold, (n,)."""
    names, codes = _encode(groups)
    sizes = np.bincount(codes)
    shuffled = rng.permutation(len(names))
    fold_sizes, fold_of_group = np.zeros(folds, np.int64), np.empty(len(names), np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold_of_group[group] = fold_sizes.argmin()
        fold_sizes[fold_of_group[group]] += sizes[group]
    return np.asarray(fold_of_group[codes])


def _encode(keys: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct keys, sorted, and the index of each key among them, (n,)."""
    names = sorted(set(keys))
    codes = {name: code for code, name in enumerate(names)}
    return names, np.asarray([codes[key] for key in keys])


def _assign_given_groups(
    speakers: Sequence[str], groups: Sequence[Sequence[Any]], *, may_lack_speakers: bool
) -> NDArray[np.int64]:
    """Return the fold of each clip, (n,). Speakers of published groups may be missing if the corpus is incomplete."""
    fold_of_speaker: dict[str, int] = {}
    all_speakers = sorted(set(speakers))
    for fold, group in enumerate(groups):
        for entry in group:
            matches = {speaker for speaker in all_speakers if _matches(speaker, entry)}
            if not matches and not may_lack_speakers:
                raise CorpusError(f"groups: no speaker {entry!r}; valid: {shorten(all_speakers)}")
            if len(matches) > 1 or matches & fold_of_speaker.keys():
                raise CorpusError(f"groups: {entry!r} is listed twice or matches {shorten(sorted(matches))}")
            fold_of_speaker |= dict.fromkeys(matches, fold)
    if missing := [it for it in all_speakers if it not in fold_of_speaker]:
        raise CorpusError(f"groups: {shorten(missing)} is in no group")
    used_folds, fold_of_clip = np.unique([fold_of_speaker[speaker] for speaker in speakers], return_inverse=True)
    if len(used_folds) < 2:
        raise CorpusError("groups: fewer than two groups have clips")
    return np.asarray(fold_of_clip)


def _matches(speaker: str, entry: Any) -> bool:
    """Return whether a group's entry means this speaker: `ravdess/01`, `01` or 1."""
    name = speaker.partition("/")[2]
    return entry in (speaker, name) or (name.isdecimal() and str(entry).isdecimal() and int(name) == int(entry))


def _share_speakers(*parts: Clips) -> bool:
    speakers = [{clip.speaker for clip in part} for part in parts]
    return len(set.union(*speakers)) < sum(map(len, speakers))


def _select(clips: Clips, mask: NDArray[np.bool_]) -> Clips:
    return tuple(clips[index] for index in np.flatnonzero(mask))
