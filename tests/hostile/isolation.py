"""Checks in forked processes: one that crashes or hangs its process is a line, and the others go on."""

import faulthandler
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from pipeline.base.errors import PipelineError, exit_with_message

TIMEOUT_S = 20
MEMORY_BYTES = 2 << 30  # what a check may take beyond what the process has already
MESSAGE_CHARACTERS = 4000
REFUSED, SAME = "refused in one line", "the same values"

Check = Callable[[int], str]
"""Returns the digest of what was read for a number; raises `PipelineError` if that is refused."""


def run_isolated(check: Check, numbers: Sequence[int], expected: Callable[[int], str]) -> Iterator[tuple[int, str]]:
    """Yield each number with `REFUSED`, `SAME`, or what went wrong."""
    left = list(numbers)
    while left:
        outcomes, end = _run_child(check, left, expected)
        yield from zip(left, outcomes, strict=False)
        left = left[len(outcomes) :]
        if left:  # the child died of the next one
            yield left.pop(0), end


def _run_child(check: Check, numbers: Sequence[int], expected: Callable[[int], str]) -> tuple[list[str], str]:
    """Return the outcomes until the child's end, and how it ended."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        try:
            _limit_resources()
            with os.fdopen(write_end, "wb") as pipe:
                _check_all(check, numbers, expected, pipe)
        finally:
            os._exit(0)  # without the parent's exit handlers
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        outcomes = [json.loads(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
    return outcomes, f"hung for {TIMEOUT_S} s" if hung else f"crashed the process (status {status})"


def _limit_resources() -> None:
    faulthandler.disable()  # how the child ends is reported; pytest's handler would print a traceback
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a path of the system, and no file
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES, resource.RLIM_INFINITY))


def _check_all(check: Check, numbers: Sequence[int], expected: Callable[[int], str], pipe: BinaryIO) -> None:
    for number in numbers:
        signal.alarm(TIMEOUT_S)
        pipe.write(json.dumps(judge(check, number, expected(number))).encode() + b"\n")
        pipe.flush()
    signal.alarm(0)


def judge(check: Check, number: int, expected: str) -> str:
    """Return the outcome of one check in this process."""
    try:
        value = check(number)
    except PipelineError as error:
        return REFUSED if is_one_line(error) else f"a message that is no short line: {str(error)[:300]!a}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        return f"{type(error).__name__}: {str(error)[:200]!a}"
    return SAME if value == expected else "other values"


def is_one_line(error: PipelineError) -> bool:
    """Return whether a user sees one line: printable, neither empty nor endless."""
    try:
        with exit_with_message():
            raise error
    except SystemExit as end:
        message = str(end.code)
    return message.isprintable() and len("error: ") < len(message) < MESSAGE_CHARACTERS
