"""What an adapter returns: clips as their names and tables tell of them, before any media is opened."""

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.errors import CorpusError

VIDEO_SUFFIXES = {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv"}
AUDIO_SUFFIXES = {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"}
MEDIA_SUFFIXES = frozenset(VIDEO_SUFFIXES | AUDIO_SUFFIXES)


@dataclass(frozen=True)
class Candidate:
    """A clip that a corpus promises; paths are relative to the corpus's root, with forward slashes."""

    path: str
    emotion: str
    speaker: str
    sentence: str = ""
    split: str = ""
    audio_path: str = ""

    def clip_id(self, corpus: str) -> str:
        """Return the id, made of corpus, official part, speaker and name: a file's stem alone may not be unique."""
        parts = PurePosixPath(self.path).with_suffix("").parts
        name = ".".join(part for part in parts if part not in (self.speaker, self.split))
        return "/".join(part for part in (corpus, self.split, self.speaker, name) if part)

    def files(self, root: Path) -> list[Path]:
        """Return the clip's one or two media files."""
        return [root / path for path in (self.path, self.audio_path) if path]


@dataclass
class Findings:
    """The clips of a corpus, and the media files that are none: path to reason."""

    candidates: list[Candidate] = field(default_factory=list)
    leftovers: dict[str, str] = field(default_factory=dict)


def media_files(root: Path) -> list[str]:
    """Return the paths of all media files below `root`, sorted, relative to it; links to folders are followed.

    What cannot be listed is an error: to pass over it would be to leave out clips without a word.
    """
    found = []
    for name, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        folder = Path(name)
        own = folder.resolve()
        folders[:] = [inner for inner in folders if not own.is_relative_to((folder / inner).resolve())]  # no circles
        found += [
            (folder / file).relative_to(root).as_posix()
            for file in files
            if Path(file).suffix.lower() in MEDIA_SUFFIXES and not file.startswith(".")
        ]
    for path in found:
        if path.encode(errors="replace").decode() != path:
            raise CorpusError(f"{root}: the file name {path!a} is not UTF-8; rename it")
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise CorpusError(f"{error.filename} cannot be read: {error.strerror}") from error
