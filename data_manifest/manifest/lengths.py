"""Which media files are shorter than they say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_manifest.manifest.clips import Clip
from pipeline.base.errors import StoreError
from pipeline.base.selection import count_noun, shorten
from pipeline.base.tables import read_table, unescape_cell

MISSING_S = 0.1  # so much less than announced is usual: encoders add a part of a packet at both ends


@dataclass(frozen=True)
class Length:
    """The length of a media file: as decoded, and as its header announces; 0 if that announces none."""

    decoded_s: float
    promised_s: float

    @property
    def complete(self) -> float:
        """The share of the announced length that could be decoded, at most 1."""
        is_whole = self.promised_s - self.decoded_s <= MISSING_S
        return 1.0 if is_whole else self.decoded_s / self.promised_s


def read_lengths(path: Path) -> dict[str, Length]:
    """Return the length of every file in a corpus's `media.csv`, by its path below the corpus's root."""
    _, lines = read_table(path, raises=StoreError, fix="run: dvc repro corpus")
    try:
        return {
            unescape_cell(row["path"]): Length(float(row["duration_s"]), float(row["promised_s"])) for _, row in lines
        }
    except (KeyError, ValueError) as error:
        raise StoreError(f"{path} holds no lengths ({error}); run: dvc repro --force --single-item corpus") from error


def cut_short_reason(clip: Clip, lengths: Mapping[str, Length], *, min_complete: float) -> str:
    """Return which of the clip's files was cut short, with both lengths, or ""."""
    for path in clip.files:
        length = lengths.get(path)
        if length and length.complete < min_complete:
            return (
                f"{path} is cut short: {length.decoded_s:.2f} of {length.promised_s:.2f} s can be decoded, "
                f"less than manifest.min_complete = {min_complete:g} allows"
            )
    return ""


def incomplete_note(clips: Sequence[Clip], lengths: Mapping[str, Mapping[str, Length]]) -> str:
    """Return one line about the kept clips that are not whole, or ""; `lengths` are by corpus and path."""
    shares = {clip.clip_id: min(lengths[clip.corpus][path].complete for path in clip.files) for clip in clips}
    short = [f"{clip_id} ({share:.0%})" for clip_id, share in shares.items() if share < 1]
    return f"files announce more than they hold in {count_noun(len(short), 'clip')}: {shorten(short)}" if short else ""
