"""Mistakes that a person can mend: one line that names the file, the value and the way out."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class PipelineError(Exception):
    """The root of everything that is reported without a traceback; any other exception is a bug."""


class ParameterError(PipelineError, ValueError):
    """A parameter that does not exist, or a value that it cannot have; pydantic adds the key to a ValueError."""


class CorpusError(PipelineError):
    """A corpus that is not where, or not what, it was said to be."""


class ClipError(PipelineError):
    """One clip that cannot be processed: it is recorded with its reason, and the run goes on."""


class ExcludedClipError(ClipError):
    """A clip that parameters say to leave out altogether: not a failure."""


class StoreError(PipelineError):
    """A data file that is damaged, foreign, or made with other settings."""


class WeightsError(PipelineError):
    """Model weights that are absent or not the ones they should be."""


class TrainingError(PipelineError):
    """A training run that cannot start, or cannot go on."""


@contextmanager
def exit_with_message() -> Iterator[None]:
    """Tell a mistake or a full disk in one line, and leave with exit status 1."""
    try:
        yield
    except PipelineError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        sys.exit(f"error: {error.filename or 'a file'} cannot be written: {error.strerror}; make room")
