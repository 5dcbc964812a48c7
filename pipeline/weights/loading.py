"""Weight files of strangers: nothing in them is executed, and whatever else they hold is one line of text."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base.errors import WeightsError
from pipeline.base.text import one_line

if TYPE_CHECKING:  # which takes seconds to import
    from torch import Tensor, nn

# In an ONNX file, the key `location` of a tensor that is stored in another file; a varint may be longer than it must.
EXTERNAL = re.compile(rb"(?:\n|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
ORT_FORMAT = slice(4, 8), b"ORTM"  # ONNX Runtime's own format, which it recognises by these bytes


@contextmanager
def report_misfit(path: Path, fault: str) -> Iterator[None]:
    """Turn any exception into a WeightsError that names the file and the fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other formats
            yield
    except WeightsError:
        raise
    except Exception as error:  # readers raise whatever a stranger's bytes make them raise
        raise WeightsError(f"{path} {fault}: {one_line(str(error) or type(error).__name__)}") from error


def read_state(path: Path) -> "dict[str, Tensor]":
    """Return the state dict in a file, without executing code from it."""
    import torch

    with report_misfit(path, "is not a readable state dict"):
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(
            isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
        ):
            raise ValueError("it holds something else than tensors by name")
        return {**state}


def load_state(network: "nn.Module", path: Path, *, fault: str) -> None:
    """Put the state dict in a file into a network; a WeightsError with the fault if it belongs to another one."""
    with report_misfit(path, fault):
        network.load_state_dict(read_state(path))
    require_finite(network, path)


def require_finite(network: "nn.Module", path: Path) -> None:
    """Raise WeightsError if the network that was read from a file holds numbers that are not finite."""
    for name, value in network.state_dict().items():
        if not value.isfinite().all():
            raise WeightsError(f"{path} holds weights that are not finite, in {name}")


def require_one_onnx_file(path: Path) -> None:
    """Raise WeightsError if a file is not ONNX, or refers to other files for its tensors."""
    content = path.read_bytes()
    if path.suffix != ".onnx" or content[ORT_FORMAT[0]] == ORT_FORMAT[1] or EXTERNAL.search(content):
        raise WeightsError(f"{path} is not one .onnx file with all its tensors; export it without external data")
