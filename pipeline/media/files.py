"""The files of a clip on disk."""

from pathlib import Path
from typing import NamedTuple


class ClipFiles(NamedTuple):
    """The file with a clip's video, and the one with its sound: the same, unless the sound is in a separate file."""

    video: Path
    audio: Path
