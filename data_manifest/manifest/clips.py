"""The manifest: the clips with their labels, and the exclusions with their reasons."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, field_validator

from data_manifest.manifest.paths import is_below
from pipeline.base.errors import CorpusError, ParameterError, StoreError
from pipeline.base.params import Config, quote
from pipeline.base.registry import suggest
from pipeline.base.tables import read_table, unescape_cell, write_table

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
ALL_EMOTIONS = (*EMOTIONS, "calm", "contempt", "excitement")  # only some corpora have the last three
# These corpora publish one performance in several files. Its id is part of each file's name.
PERFORMANCE_PATTERNS = {
    "ravdess": re.compile(r"(?<!\d)0[123](-0[12]-0[1-8]-0[12]-0[12]-0[12]-\d\d)(?!\d)"),
    "crema_d": re.compile(r"(?<!\d)(1\d{3}_[A-Z]{3}_(?:ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX))(?![A-Z])"),
}
MANIFEST = Path("data/manifest.csv")
EXCLUSIONS = Path("data/exclusions.csv")


def _check_path(value: str) -> str:
    if not is_below(value):
        raise ValueError("is not a path below the corpus's root")
    return value


RelativePath = Annotated[str, AfterValidator(_check_path)]
Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Clip:
    """A row of `data/manifest.csv`. Paths are relative to the root of the clip's corpus."""

    clip_id: Name
    corpus: Name
    path: RelativePath
    audio_path: Literal[""] | RelativePath  # a separate audio file, or ""
    speaker: Name
    emotion: str
    split: str  # the official part, if the corpus has any
    sentence: str
    modalities: Annotated[str, Field(pattern=r"^(visual|acoustic|visual\+acoustic)$")]
    duration_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # of the media's bytes

    @property
    def files(self) -> list[str]:
        """The paths of the clip's one or two media files."""
        return [path for path in (self.path, self.audio_path) if path]

    @property
    def audio_source(self) -> str:
        """The path of the file that contains the audio."""
        return self.audio_path or self.path

    @property
    def performance(self) -> str:
        """The id of the recorded performance: the same for all its files, in any corpus; `clip_id` if unknown."""
        return _performance(self.path, self.audio_path) or self.clip_id


def clip_sha256(checksums: Sequence[str]) -> str:
    """Return the `sha256` of a clip from those of its one or two files."""
    return checksums[0] if len(checksums) == 1 else sha256("".join(checksums).encode()).hexdigest()


@cache  # called for every fold of every protocol
def _performance(path: str, audio_path: str) -> str:
    for corpus, name in PERFORMANCE_PATTERNS.items():
        if match := name.search(path) or name.search(audio_path):
            return f"{corpus}/{match[1]}"
    return ""


@dataclass(frozen=True)
class Exclusion:
    """A row of `data/exclusions.csv`."""

    clip_id: str
    path: str
    stage: str
    reason: str


class ManifestConfig(Config):
    """The section `manifest`."""

    merge: dict[str, str] = Field(default_factory=dict)
    """Emotions to rename, such as `calm: neutral`."""
    modalities: Literal["keep", "require"] = "keep"
    """`require` leaves out clips that lack audio or video, or in which there is nothing to hear or see."""
    min_duration_s: float = Field(0.04, ge=0, le=86_400)
    """Shorter clips are left out. The default is one frame at 25 frames per second."""
    max_duration_s: float = Field(120, gt=0, le=86_400)
    """Longer clips are left out: an utterance of that length was cut wrongly."""
    min_complete: float = Field(0.9, ge=0, le=1)
    """Clips with a file of which a smaller share of the announced length can be decoded are left out."""

    @field_validator("merge")
    @classmethod
    def _check_targets(cls, value: dict[str, str]) -> dict[str, str]:
        for label in value.values():
            check_emotion(label)
        return value


Row = TypeVar("Row", Clip, Exclusion)


def write_rows(path: Path, rows: Iterable[Row], kind: type[Row]) -> None:
    """Write clips or exclusions as CSV, sorted by clip id and path."""
    ordered = sorted(rows, key=lambda row: (row.clip_id, row.path))
    write_table(path, [column.name for column in fields(kind)], (list(vars(row).values()) for row in ordered))


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Return the rows of a CSV file that `write_rows` wrote; raise `StoreError` with the line of a wrong row."""
    names = [column.name for column in fields(kind)]
    columns, lines = read_table(path, raises=StoreError, fix="run: dvc repro manifest")
    if columns != names:
        raise StoreError(f"{path} has the columns {columns}, not {names}; run: dvc repro manifest")
    validate = TypeAdapter(kind).validate_python
    rows: list[Row] = []
    first_lines: dict[str, int] = {}
    for line, values in lines:
        try:
            row = validate({name: unescape_cell(value) for name, value in values.items()})
            if kind is Clip and first_lines.setdefault(row.clip_id, line) != line:
                raise ValueError(f"the id {row.clip_id!r} is that of line {first_lines[row.clip_id]}, too")
        except ValueError as error:
            raise StoreError(
                f"{path}, line {line}: {_explain(error)}; correct it, or run: dvc repro --force --single-item manifest"
            ) from error
        rows.append(row)
    return rows


def _explain(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    if first["type"] == "missing":
        return f"the value of {first['loc'][0]} is missing"
    return f"{first['loc'][0]} = {quote(first['input'])}: {first['msg'].removeprefix('Value error, ')}"


def check_emotion(label: str) -> None:
    """Raise if the label is not an emotion of the pipeline."""
    if label not in ALL_EMOTIONS:
        raise ParameterError(f"unknown emotion {label!r}; {suggest(label, ALL_EMOTIONS)}")


def build_manifest(
    clips: Sequence[Clip],
    exclusions: Sequence[Exclusion],
    config: ManifestConfig,
    media_reason: Callable[[Clip], str] = lambda _: "",
) -> tuple[list[Clip], list[Exclusion]]:
    """Merge labels and filter the clips of all corpora; return the manifest and all exclusions.

    `media_reason` returns why the media of a clip are not used, or "".

    Every clip is in exactly one of the two lists. Of clips with the same bytes, one is kept, or none if their labels or
    speakers differ: otherwise one recording could be in two parts of a split.
    """
    labels = {clip.emotion for clip in clips}
    for label in sorted(config.merge.keys() - labels - set(ALL_EMOTIONS)):
        raise CorpusError(f"manifest.merge: no clip is labelled {label!r}; {suggest(label, labels)}")
    merged = [replace(it, emotion=config.merge[it.emotion]) if it.emotion in config.merge else it for it in clips]
    copies: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(merged, key=lambda clip: clip.clip_id):
        copies[clip.sha256].append(clip)
    kept, left_out = [], list(exclusions)
    paths: dict[str, str] = {}
    for clip in merged:
        reason = _filter_reason(clip, config) or media_reason(clip) or duplicate_reason(clip, copies[clip.sha256])
        if clip.clip_id in paths:
            raise CorpusError(f"two clips have the id {clip.clip_id!r}: {paths[clip.clip_id]} and {clip.path}")
        paths[clip.clip_id] = clip.path
        if reason:
            left_out.append(Exclusion(clip.clip_id, clip.path, "manifest", reason))
        else:
            kept.append(clip)
    if not kept:
        first = f"; the first: {left_out[0].path}: {left_out[0].reason}" if left_out else ""
        raise CorpusError(f"the manifest is empty: {len(left_out)} clips were left out{first}")
    return kept, left_out


def _filter_reason(clip: Clip, config: ManifestConfig) -> str:
    if clip.emotion not in ALL_EMOTIONS:
        return f"unknown emotion {clip.emotion!r}; manifest.merge can rename it"
    if clip.duration_s < config.min_duration_s:
        return f"too short: {clip.duration_s:g} s, less than manifest.min_duration_s"
    if clip.duration_s > config.max_duration_s:
        return f"too long: {clip.duration_s:g} s, more than manifest.max_duration_s"
    if config.modalities == "require" and clip.modalities != "visual+acoustic":
        return f"only {clip.modalities}, but manifest.modalities is require"
    return ""


def duplicate_reason(clip: Clip, copies: Sequence[Clip]) -> str:
    """Return why a clip is left out among `copies`, all clips with the same bytes (including it), or ""."""
    if len({(it.emotion, it.speaker) for it in copies}) > 1:
        other = next(it for it in copies if (it.emotion, it.speaker) != (clip.emotion, clip.speaker))
        return f"the same bytes as {other.clip_id}, which has another label or speaker"
    return "" if clip == copies[0] else f"the same bytes as {copies[0].clip_id}"
