"""Published fold files: how many of the tested speakers are in the training list, too."""

import json
import re
from pathlib import Path

from pipeline.base.errors import CorpusError
from pipeline.base.files import read_file


def count_shared_speakers(train: Path, test: Path, speaker: str) -> tuple[int, int]:
    """Return how many speakers of a test list are in the training list, and how many the test list has.

    The lists hold a JSON object in each line, with the path `wav`, as those of EmoBox do. `speaker` is a pattern with
    one group: the speaker in that path.
    """
    trained, tested = (_speakers(path, re.compile(speaker)) for path in (train, test))
    return len(trained & tested), len(tested)


def _speakers(path: Path, pattern: re.Pattern[str]) -> set[str]:
    speakers = set()
    lines = read_file(path, raises=CorpusError, fix="give the path of a fold file").decode().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            wav = str(json.loads(line)["wav"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}, line {number}: not a JSON object with the path `wav`") from error
        match = pattern.search(wav)
        if not match:
            raise CorpusError(f"{path}, line {number}: the pattern {pattern.pattern!r} finds no speaker in {wav!r}")
        speakers.add(match[1])
    return speakers
