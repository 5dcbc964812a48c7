"""The manifest's contract: which clips there are, what is known of each, and which were left out, and why."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from pipeline.errors import CorpusError, StoreError
from pipeline.files import write_text
from pipeline.params import Config, read_params

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
MORE_EMOTIONS = ("calm", "contempt", "excitement")  # known to some corpora only
MANIFEST = Path("data/manifest.csv")
EXCLUSIONS = Path("data/exclusions.csv")


@dataclass(frozen=True)
class Clip:
    """A row of `data/manifest.csv`. Paths are relative to the root of the clip's corpus."""

    clip_id: str
    corpus: str
    path: str
    audio_path: str  # where the sound lies in a file of its own
    speaker: str
    emotion: str
    split: str  # the official part, where the corpus has parts
    sentence: str
    modalities: str  # "visual", "acoustic" or "visual+acoustic"
    duration_s: float
    sha256: str  # of the media's bytes

    @property
    def sound(self) -> str:
        """The path of the file that holds the sound."""
        return self.audio_path or self.path


@dataclass(frozen=True)
class Exclusion:
    """A row of `data/exclusions.csv`."""

    clip_id: str
    path: str
    stage: str
    reason: str


class ManifestConfig(Config):
    """The section `manifest`."""

    merge: dict[str, str] = Field(default_factory=dict)  # e.g. calm: neutral
    modalities: Literal["keep", "require"] = "keep"  # require leaves out clips that lack sound or picture


Row = TypeVar("Row", Clip, Exclusion)


def write_rows(path: Path, rows: Iterable[Row], kind: type[Row]) -> None:
    """Write clips or exclusions as CSV, sorted by clip id and path."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in fields(kind)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in sorted(rows, key=lambda row: (row.clip_id, row.path)))
    write_text(path, text.getvalue())


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Return the rows of a CSV file that `write_rows` wrote."""
    names = [column.name for column in fields(kind)]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != names:
                raise StoreError(f"{path} has the columns {reader.fieldnames}, not {names}; run: dvc repro manifest")
            return [kind(**_typed(row, f"{path}, line {reader.line_num}")) for row in reader]
    except FileNotFoundError:
        raise StoreError(f"{path} is not there; run: dvc repro manifest") from None


def _typed(row: dict[str, Any], where: str) -> dict[str, Any]:
    try:
        if None in row or None in row.values():  # what the reader makes of too many values, and of too few
            raise ValueError("it has another number of values than there are columns")
        return row | {"duration_s": float(row["duration_s"])} if "duration_s" in row else row
    except ValueError as error:
        raise StoreError(f"{where}: {error}; run: dvc repro --force --single-item manifest") from error


def assemble(
    clips: Sequence[Clip], exclusions: Sequence[Exclusion], config: ManifestConfig
) -> tuple[list[Clip], list[Exclusion]]:
    """Return the manifest and the exclusions of all corpora together: labels merged, clips filtered.

    Every clip that comes in goes out in exactly one of the two.
    """
    known = (*EMOTIONS, *MORE_EMOTIONS)
    for name in (*config.merge, *config.merge.values()):
        if name not in known:
            raise CorpusError(f"manifest.merge: unknown emotion {name!r}; valid: {', '.join(known)}")
    kept: dict[str, Clip] = {}
    left_out = list(exclusions)
    for clip in clips:
        reason = _reason_against(clip, config)
        if reason:
            left_out.append(Exclusion(clip.clip_id, clip.path, "manifest", reason))
        elif clip.clip_id in kept:
            raise CorpusError(f"two clips are named {clip.clip_id}: {kept[clip.clip_id].path} and {clip.path}")
        else:
            kept[clip.clip_id] = replace(clip, emotion=config.merge.get(clip.emotion, clip.emotion))
    if not kept:
        first = f"; the first: {left_out[0].path}: {left_out[0].reason}" if left_out else ""
        raise CorpusError(f"no clip is left; {len(left_out)} were left out{first}")
    return list(kept.values()), left_out


def _reason_against(clip: Clip, config: ManifestConfig) -> str:
    if clip.emotion not in (*EMOTIONS, *MORE_EMOTIONS):
        return f"unknown emotion {clip.emotion!r}"
    if config.modalities == "require" and clip.modalities != "visual+acoustic":
        return f"has {clip.modalities} only, and manifest.modalities is require"
    return ""


def corpus_roots() -> dict[str, Path]:
    """Return where the media of each corpus lie, as `params.yaml` says."""
    return {name: Path(entry["root"]) for name, entry in read_params()["corpora"].items()}
