"""Tags of WAV and AVI files, checked before FFmpeg reads them."""

import re
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct

from pipeline.base.errors import ClipError

TAGS = re.compile(rb"LIST(.{4})INFO", re.DOTALL)
MOST_TAGS = 100_000
HEADER = Struct("<4sI")  # of a chunk: its name and the number of its bytes


def check_tags(path: Path) -> None:
    """Raise `ClipError` if a tag announces more bytes than the file has, or if there are too many tags to look at.

    FFmpeg reserves and clears as much memory as a tag announces, up to 4 GB.
    """
    with path.open("rb") as file:
        if file.read(4) not in (b"RIFF", b"RIFX", b"RF64"):
            return
        with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            count = 0
            for match in TAGS.finditer(data):
                end = min(len(data), match.start() + HEADER.size + int.from_bytes(match[1], "little"))
                position = match.end()
                while position + HEADER.size <= end:
                    count += 1  # lists within lists could make this loop endless
                    if count > MOST_TAGS:
                        raise ClipError(f"it has more than {MOST_TAGS} tags")
                    name, size = HEADER.unpack_from(data, position)
                    position += HEADER.size + size + size % 2
                    if position > len(data) + 1:  # the last chunk may lack its padding
                        raise ClipError(f"its tag {name.decode('latin-1')!a} announces more bytes than the file has")
