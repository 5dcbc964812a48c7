"""What an adapter returns: clips as their names and tables tell of them, before any media is opened."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.base.errors import CorpusError
from pipeline.base.selection import shorten

VIDEO_SUFFIXES = {
    *(".3gp", ".avi", ".dv", ".flv", ".m2ts", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
}
# In the order of preference, where one sound lies there in several files: lossless first.
SOUND_SUFFIXES = (
    *(".wav", ".flac", ".aif", ".aiff", ".au"),
    *(".m4a", ".aac", ".opus", ".ogg", ".oga", ".mp3", ".wma", ".amr"),
)
MEDIA_SUFFIXES = frozenset((*VIDEO_SUFFIXES, *SOUND_SUFFIXES))


@dataclass(frozen=True)
class Candidate:
    """A clip that a corpus promises; paths are relative to the corpus's root, with forward slashes."""

    path: str
    emotion: str
    speaker: str
    sentence: str = ""
    split: str = ""  # the official part, where the corpus has parts
    audio_path: str = ""  # where the sound lies in a file of its own
    fallbacks: tuple[str, ...] = ()  # files that can stand in for the last of its own, if that is spoiled
    name: str = ""  # unique within part and speaker; empty: made from the path

    def clip_id(self, corpus: str) -> str:
        """Return the id, made of corpus, official part, speaker and name: a file's stem alone may not be unique."""
        parts = self.path[: len(self.path) - len(file_suffix(self.path))].split("/")
        name = self.name or ".".join(part for part in parts if part not in (self.speaker, self.split))
        return "/".join(part for part in (corpus, self.split, self.speaker, name) if part)

    @property
    def files(self) -> list[str]:
        """The clip's one or two media files."""
        return [path for path in (self.path, self.audio_path) if path]


@dataclass
class Findings:
    """The clips of a corpus, and the media files that are none: path to reason."""

    candidates: list[Candidate] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # oddities, one line each
    expected_names: str = ""  # how the corpus's files are named, for whoever gave the wrong root


def media_files(root: Path) -> list[str]:
    """Return the paths of all media files below `root`, sorted, relative to it; links to folders are followed.

    What cannot be listed is an error: to pass over it would be to leave out clips without a word.
    """
    found = []
    ways = {root: {root.resolve()}}  # for each folder to come: itself and all above it, as they really are
    for name, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        way = ways.pop(Path(name))
        real = {folder: Path(name, folder).resolve() for folder in folders}
        folders[:] = [folder for folder in folders if not any(it.is_relative_to(real[folder]) for it in way)]
        ways |= {Path(name, folder): way | {real[folder]} for folder in folders}
        below = Path(name).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        found += [prefix + file for file in files if file_suffix(file) in MEDIA_SUFFIXES and not file.startswith(".")]
    for path in found:
        if path.encode(errors="replace").decode() != path:
            raise CorpusError(f"{root}: the file name {path!a} is not UTF-8; rename it")
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise CorpusError(f"{error.filename} cannot be read: {error.strerror}") from error


def pair(paths: Sequence[str]) -> tuple[str, str, dict[str, str]]:
    """Of the files of one performance choose the picture and the sound.

    Return the clip's path, the path of its sound where that is a file of its own, and the files that are not
    needed, with the reason.
    """
    films = [path for path in paths if file_suffix(path) in VIDEO_SUFFIXES]
    sounds = sorted(
        (path for path in paths if path not in films), key=lambda path: SOUND_SUFFIXES.index(file_suffix(path))
    )
    chosen = [*films[:1], *sounds[:1]]
    surplus = dict.fromkeys(films[1:], f"the same performance as {chosen[0]}")
    surplus |= dict.fromkeys(sounds[1:], f"the sound is taken from {chosen[-1]}")
    return chosen[0], chosen[1] if len(chosen) == 2 else "", surplus


def video_first(path: str) -> tuple[bool, str]:
    """Return what to sort by where one of several files is taken: films before sound that was taken out of them."""
    return file_suffix(path) not in VIDEO_SUFFIXES, path


def file_suffix(path: str) -> str:
    """Return the suffix in small letters."""
    stem, dot, ending = path.rpartition("/")[2].rpartition(".")
    return dot + ending.lower() if stem else ""


def count_note(corpus: str, what: str, expected: Iterable[str], found: Iterable[str]) -> list[str]:
    """Return one line for what a corpus should hold and doesn't, and one for what it shouldn't and does."""
    wanted, there = set(expected), set(found)
    missing, extra = sorted(wanted - there), sorted(there - wanted)
    notes = []
    if missing:
        notes.append(f"{corpus}: {len(wanted & there)} of {len(wanted)} {what}; missing: {shorten(missing)}")
    if extra:
        notes.append(f"{corpus}: {len(extra)} {what} that it is not known to have: {shorten(extra)}")
    return notes


def exclude_known_bad(candidates: Sequence[Candidate], known_bad: Mapping[str, str], findings: Findings) -> None:
    """Put the candidates into the findings, but for those that are known to be bad by name."""
    for it in candidates:
        if it.name in known_bad:
            findings.left_out |= dict.fromkeys(it.files, f"known bad: {known_bad[it.name]}")
        else:
            findings.candidates.append(it)
