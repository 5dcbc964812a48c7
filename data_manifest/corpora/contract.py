"""The adapters' contract: `Findings` made of `Candidate` clips, and helpers to build them from file names."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from data_manifest.manifest.paths import LINK_REFUSED, is_below, outside_check
from pipeline.base.errors import CorpusError
from pipeline.base.selection import shorten

VIDEO_SUFFIXES = {
    *(".3gp", ".avi", ".dv", ".flv", ".m2ts", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
}
# In order of preference if the same audio exists in several files: lossless first.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".aif", ".aiff", ".au"),
    *(".m4a", ".aac", ".opus", ".ogg", ".oga", ".mp3", ".wma", ".amr"),
)
MEDIA_SUFFIXES = frozenset((*VIDEO_SUFFIXES, *AUDIO_SUFFIXES))


@dataclass(frozen=True)
class Candidate:
    """A clip according to file names and tables; paths are relative to the corpus's root, with forward slashes."""

    path: str
    emotion: str
    speaker: str
    sentence: str = ""
    split: str = ""  # the official part, if the corpus has any
    audio_path: str = ""  # a separate audio file, if there is one
    fallbacks: tuple[str, ...] = ()  # files that can replace the last of `files` if that is unreadable
    name: str = ""  # unique within part and speaker; empty: made from the path

    def clip_id(self, corpus: str) -> str:
        """Return the id: corpus, official part, speaker and name, because a file's stem alone may not be unique."""
        parts = self.path[: len(self.path) - len(file_suffix(self.path))].split("/")
        name = self.name or ".".join(part for part in parts if part not in (self.speaker, self.split))
        return "/".join(part for part in (corpus, self.split, self.speaker, name) if part)

    @property
    def files(self) -> list[str]:
        """The clip's one or two media files."""
        return [path for path in (self.path, self.audio_path) if path]


@dataclass
class Findings:
    """The clips of a corpus, and the media files that are left out."""

    candidates: list[Candidate] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # path to reason
    notes: list[str] = field(default_factory=list)  # warnings, one line each
    expected_names: str = ""  # how the corpus's files are named; shown if the root contains none
    checksums: Path | None = None  # a table `path, bytes, sha256` (.csv or .csv.xz) of the files as published, if any

    @property
    def files(self) -> set[str]:
        """The paths of all media files, also of those that are left out."""
        return {path for it in self.candidates for path in (*it.files, *it.fallbacks)} | self.left_out.keys()


_links_are_followed = ContextVar("links_are_followed", default=False)


@contextmanager
def follow_links(*, allowed: bool) -> Iterator[None]:
    """Set whether adapters follow links that lead out of the corpus's root."""
    token = _links_are_followed.set(allowed)
    try:
        yield
    finally:
        _links_are_followed.reset(token)


def media_files(root: Path) -> list[str]:
    """Return the paths of all media files below `root`, sorted and relative to it; `unusable_paths` are left out.

    Raise if a folder cannot be listed: skipping it would silently lose clips.
    """
    return sorted(path for path, reason in walk_media(root) if not reason)


def unusable_paths(root: Path) -> dict[str, str]:
    """Return a reason for each link to a folder outside `root` and for each media file whose name is not text."""
    return {path.encode(errors="backslashreplace").decode(): reason for path, reason in walk_media(root) if reason}


def walk_media(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the path of every media file below `root`, relative to it, and why it cannot be used, or "".

    Links to folders are followed without cycles; those that lead out of the root only if `follow_links` allows it.
    """
    # For each folder still to be visited: the real paths of the folder and its ancestors.
    ancestors = {root: {root.resolve()}}
    for name, folders, files in os.walk(root, followlinks=True, onerror=_raise_unreadable):
        above = ancestors.pop(Path(name))
        below = Path(name).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        outside = {it for it in folders if Path(name, it).is_symlink() and not _may_follow(root, prefix + it)}
        yield from ((prefix + folder, LINK_REFUSED) for folder in outside)
        real = {folder: Path(name, folder).resolve() for folder in folders if folder not in outside}
        folders[:] = [folder for folder in real if not any(it.is_relative_to(real[folder]) for it in above)]
        ancestors |= {Path(name, folder): above | {real[folder]} for folder in folders}
        for file in files:
            if file_suffix(file) in MEDIA_SUFFIXES and not file.startswith("."):
                path = prefix + file
                yield path, "" if is_utf8(path) else "its name is not UTF-8; rename it"


def _may_follow(root: Path, path: str) -> bool:
    return _links_are_followed.get() or not outside_check(root)(path)


def is_utf8(path: str) -> bool:
    """Return whether a path is text in UTF-8; Python gives other bytes of a name as surrogates, which are not."""
    return path.encode(errors="replace").decode() == path


def refuse_outside_link(root: Path, table: Path) -> None:
    """Raise if a table below the root is a link that leads out of it, unless `follow_links` allows it."""
    path = os.path.relpath(table, root)
    if is_below(path) and not _may_follow(root, path):
        raise CorpusError(f"{table} is {LINK_REFUSED}")


def _raise_unreadable(error: OSError) -> None:
    raise CorpusError(f"{error.filename} cannot be read: {error.strerror}") from error


def choose_video_and_audio(paths: Sequence[str]) -> tuple[str, str, dict[str, str]]:
    """Choose a video and an audio file among the files of one performance.

    Return the clip's path, the path of its separate audio file (or ""), and a reason for each file that is not used.
    """
    videos = [path for path in paths if file_suffix(path) in VIDEO_SUFFIXES]
    audios = sorted(
        (path for path in paths if path not in videos), key=lambda path: AUDIO_SUFFIXES.index(file_suffix(path))
    )
    chosen = [*videos[:1], *audios[:1]]
    surplus = dict.fromkeys(videos[1:], f"the same performance as {chosen[0]}")
    surplus |= dict.fromkeys(audios[1:], f"the audio is taken from {chosen[-1]}")
    return chosen[0], chosen[1] if len(chosen) == 2 else "", surplus


def video_first(path: str) -> tuple[bool, str]:
    """Return a sort key that puts videos before audio files, which may have been extracted from them."""
    return file_suffix(path) not in VIDEO_SUFFIXES, path


def file_suffix(path: str) -> str:
    """Return the suffix in lower case."""
    stem, dot, ending = path.rpartition("/")[2].rpartition(".")
    return dot + ending.lower() if stem else ""


def count_note(corpus: str, what: str, expected: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return a line about missing items and a line about unexpected ones, each only if there are any."""
    expected_items, present_items = set(expected), set(present)
    missing, unexpected = sorted(expected_items - present_items), sorted(present_items - expected_items)
    notes = []
    if missing:
        count = len(expected_items) - len(missing)
        notes.append(f"{corpus}: {count} of {len(expected_items)} {what}; missing: {shorten(missing)}")
    if unexpected:
        notes.append(f"{corpus}: {len(unexpected)} unexpected {what}: {shorten(unexpected)}")
    return notes


def add_unless_known_bad(findings: Findings, candidates: Sequence[Candidate], known_bad: Mapping[str, str]) -> None:
    """Add the candidates to the findings; leave out those whose name is in `known_bad`, a map from name to reason."""
    for candidate in candidates:
        if candidate.name in known_bad:
            findings.left_out |= dict.fromkeys(candidate.files, f"known bad: {known_bad[candidate.name]}")
        else:
            findings.candidates.append(candidate)
