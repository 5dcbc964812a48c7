"""What an adapter returns: clips as their names and tables tell of them, before any media is opened."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MEDIA_SUFFIXES = frozenset({".avi", ".flv", ".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".ogg", ".flac", ".wav", ".webm"})


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
    """Return the paths of all media files below `root`, sorted, relative to it."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in MEDIA_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
