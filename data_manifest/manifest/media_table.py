"""A corpus's `media.csv`: which media files are shorter than they say, and in which there is nothing to hear or see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from data_manifest.manifest.clips import Clip, ManifestConfig
from pipeline.base.errors import StoreError
from pipeline.base.selection import count_noun, shorten
from pipeline.base.tables import read_table, unescape_cell
from pipeline.media.loudness import AUDIBLE_DBFS

MISSING_S = 0.1  # so much less than announced is usual: encoders add a part of a packet at both ends


class Silence(BaseModel):
    """The key of the section `spectrograms` that says which sounds count as no sound; the others are not checked."""

    silence_dbfs: float = AUDIBLE_DBFS


@dataclass(frozen=True)
class MediaRow:
    """The properties of a media file that decide whether its clip can be used."""

    decoded_s: float
    promised_s: float  # the length that its header announces for the stream that lacks most; 0 if for none
    loudest_dbfs: float = 0.0
    is_one_colour: bool = False

    @property
    def complete(self) -> float:
        """The share of the announced length that could be decoded, at most 1."""
        is_whole = self.promised_s - self.decoded_s <= MISSING_S
        return 1.0 if is_whole else self.decoded_s / self.promised_s

    @property
    def lengths(self) -> str:
        """Both lengths, for a message about a file that was cut short."""
        return f"is cut short: {self.decoded_s:.2f} of {self.promised_s:.2f} s can be decoded"


Media = Mapping[str, Mapping[str, MediaRow]]
"""The rows of all corpora, by corpus and path."""


def read_media_table(path: Path) -> dict[str, MediaRow]:
    """Return the row of every file in a corpus's `media.csv`, by its path below the corpus's root."""
    _, lines = read_table(path, raises=StoreError, fix="run: dvc repro corpus")
    try:
        return {unescape_cell(row["path"]): _parse(row) for _, row in lines}
    except (KeyError, ValueError) as error:
        raise StoreError(f"{path} lacks a number ({error}); run: dvc repro --force --single-item corpus") from error


def _parse(row: Mapping[str, str]) -> MediaRow:
    decoded_s, promised_s, loudest_dbfs = (float(row[name]) for name in ("decoded_s", "promised_s", "loudest_dbfs"))
    return MediaRow(decoded_s, promised_s, loudest_dbfs, is_one_colour=row["one_colour"] == "1")


def cut_short_reason(clip: Clip, media: Mapping[str, MediaRow], *, min_complete: float) -> str:
    """Return which of the clip's files was cut short, with both lengths, or ""; `media` are those of its corpus."""
    for path in clip.files:
        row = media.get(path)
        if row and row.complete < min_complete:
            return f"{path} {row.lengths}, less than manifest.min_complete = {min_complete:g} allows"
    return ""


def media_reason(clip: Clip, media: Mapping[str, MediaRow], config: ManifestConfig, *, silence_dbfs: float) -> str:
    """Return why the media of a clip are left out, or ""; `media` are those of its corpus."""
    if reason := cut_short_reason(clip, media, min_complete=config.min_complete):
        return reason
    absent = _absent_reason(clip, media, silence_dbfs=silence_dbfs) if config.modalities == "require" else ""
    return absent and f"{absent}, but manifest.modalities is require"


def _absent_reason(clip: Clip, media: Mapping[str, MediaRow], *, silence_dbfs: float) -> str:
    """Return why a modality of the clip will count as absent, or ""."""
    level = media[clip.audio_source].loudest_dbfs
    if "acoustic" in clip.modalities and level < silence_dbfs:
        return f"its sound is silent: {level:.0f} dBFS in its loudest second"
    is_plain = "visual" in clip.modalities and media[clip.path].is_one_colour
    return "its picture is one colour throughout" if is_plain else ""


def media_notes(clips: Sequence[Clip], media: Media, *, silence_dbfs: float) -> list[str]:
    """Return a line each about the kept clips that are not whole, that are silent, and that show nothing."""
    shares = {clip.clip_id: min(media[clip.corpus][path].complete for path in clip.files) for clip in clips}
    short = [f"{clip_id} ({share:.0%})" for clip_id, share in shares.items() if share < 1]
    levels = {
        clip.clip_id: media[clip.corpus][clip.audio_source].loudest_dbfs
        for clip in clips
        if "acoustic" in clip.modalities
    }
    silent = [f"{clip_id} ({level:.0f} dBFS)" for clip_id, level in levels.items() if level < silence_dbfs]
    visual = [clip for clip in clips if "visual" in clip.modalities]
    plain = [clip.clip_id for clip in visual if media[clip.corpus][clip.path].is_one_colour]
    notes = {
        "files announce more than they hold in {}": short,
        f"the sound will count as absent, below spectrograms.silence_dbfs = {silence_dbfs:g}, in {{}}": silent,
        "the picture will count as absent, one colour throughout, in {}": plain,
    }
    return [f"{text.format(count_noun(len(ids), 'clip'))}: {shorten(ids)}" for text, ids in notes.items() if ids]
