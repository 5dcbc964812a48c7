"""Errors that a user can fix: one line that names the file, the value and how to fix it."""

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.base.text import one_line, printable

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class PipelineError(Exception):
    """The base class of all errors that are reported without a traceback; any other exception is a bug."""


class ParameterError(PipelineError, ValueError):
    """An unknown parameter or an invalid value; a ValueError, so that pydantic adds the key to the message."""


class ContractError(PipelineError):
    """A part, mostly a plugin, that gave something else than its contract says; the run stops."""


class CorpusError(PipelineError):
    """A corpus that is missing, or that does not match its parameters."""


class ClipError(PipelineError):
    """A clip that cannot be processed: the run records the reason and goes on."""


class ExcludedClipError(ClipError):
    """A clip that the parameters exclude: this is not a failure."""


class AbsentModalityError(ClipError):
    """A clip that shows no face or in which nothing is heard: this is not a failure, and the other modality is kept."""


class StoreError(PipelineError):
    """A data file that is missing, damaged, not of this pipeline, or made with other settings."""


class WeightsError(PipelineError):
    """Model weights that are missing or differ from the published ones."""


class TrainingError(PipelineError):
    """A training run that cannot start or cannot continue."""


class UnsendableError(Exception):
    """The kind and text of an exception that cannot be sent from one process to another; see `describe`."""


def describe(error: BaseException) -> str:
    """Return one line about an exception: the text of an error of ours, kind and text of any other.

    The line is the same in every process and every run: addresses of objects are left out.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # the code of the exception is wrong, too
        text = ""
    if not isinstance(error, PipelineError | UnsendableError):
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return one_line(re.sub(r"\b0x[0-9a-f]{6,}", "0x…", text))


def broken_contract(part: str, *, gave: str, wanted: str, guess: str = "") -> ContractError:
    """Return the error of a part that breaks its contract, such as "detector 'my:build'"; `guess` is at the mistake."""
    return ContractError(f"{part} gave {gave}; it should give {wanted}" + (f": {guess}" if guess else ""))


def is_full_disk(error: Exception) -> bool:
    """Return whether a file could not be written because of the disk, and not because FFmpeg uses the same number."""
    return type(error) is OSError and error.errno in DISK_FULL


@contextmanager
def exit_with_message() -> Iterator[None]:
    """Report a pipeline error or a full disk in one line, and exit with status 1."""
    try:
        yield
    except PipelineError as error:
        sys.exit(printable(f"error: {error}"))
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        name = printable(str(error.filename or "a file"))
        sys.exit(f"error: {name} cannot be written: {error.strerror}; free some space")
