"""The check of a part, whichever it is."""

import importlib
import traceback
from pathlib import Path

from pipeline.base.errors import ContractError, PipelineError, describe
from pipeline.base.plugins import PLUGINS
from pipeline.base.provenance import ROOT
from pipeline.checking.arguments import Request
from pipeline.checking.parts import ADAPTER, ALIGNMENT, DETECTOR, FACE_BACKBONE, HEAD, MEL_BACKBONE, SPECTROGRAM
from pipeline.checking.reports import CheckReport

CHECKS = {  # each is imported when it is needed: their libraries take seconds
    DETECTOR: ("extraction", "check_detector"),
    SPECTROGRAM: ("extraction", "check_kind"),
    FACE_BACKBONE: ("backbones", "check_backbone"),
    MEL_BACKBONE: ("backbones", "check_backbone"),
    HEAD: ("learning", "check_head"),
    ALIGNMENT: ("learning", "check_alignment"),
    ADAPTER: ("corpora", "check_adapter"),
}


def run_check(request: Request) -> CheckReport:
    """Check a part on a few clips, compare it with the current one, and draw a picture.

    Raise ContractError if it breaks its contract, or if a plugin or the call of one raises an exception.
    """
    module, function = CHECKS[request.part]
    try:
        report: CheckReport = getattr(importlib.import_module(f"pipeline.checking.{module}"), function)(request)
    except PipelineError:
        raise
    except (Exception, SystemExit) as error:
        place = _place_in(PLUGINS, error)
        if not place and ":" in request.name:  # its arguments differ, for example
            place = f"{_place_in(ROOT / 'pipeline', error)}, which calls it"
        if not place:
            raise
        raise ContractError(f"{request.part.kind} {request.name!r} raised {describe(error)} in {place}") from error
    return report


def _place_in(folder: Path, error: BaseException) -> str:
    """Return the file and the line in a folder that raised an exception; an empty text if there is none."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    for name, line in reversed(places):
        path = Path(name).resolve()
        if path.is_relative_to(folder.resolve()):
            return f"{folder.name}/{path.relative_to(folder.resolve()).as_posix()}, line {line}"
    return ""
