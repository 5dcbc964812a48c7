"""Weight files of strangers: whatever they hold, they execute nothing, read no other file, and are one line."""

import io
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import assert_one_line
from PIL import Image
from safetensors.torch import save
from torch import nn

from pipeline.base.errors import WeightsError
from pipeline.embeddings.backbones import BackboneConfig, load_backbone
from pipeline.faces.contract import DetectorConfig
from pipeline.faces.detectors import load_detector
from pipeline.weights.loading import load_state, read_state, require_one_onnx_file

STATE = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


class Code:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what unpickling runs."""
        return os.mkdir, ("executed",)


def saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def archive() -> bytes:
    """Return a ZIP file that is none of torch's."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        writer.writestr("data.pkl", pickle.dumps({"weight": 1}))
    return file.getvalue()


def script() -> bytes:
    """Return a TorchScript archive of the right network."""
    file = io.BytesIO()
    warnings.simplefilter("ignore", FutureWarning)  # until the test ends
    torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)), file)
    return file.getvalue()


def with_odd_metadata() -> OrderedDict[str, torch.Tensor]:
    """Return the right tensors, in a dict whose attribute misleads torch."""
    state = OrderedDict(STATE)
    state._metadata = "none"  # type: ignore[attr-defined]
    return state


STRANGE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "text": lambda: b"weights: imagenet\n",
    "picture": picture,
    "bytes": lambda: bytes(range(256)) * 10,
    "archive": archive,
    "code": lambda: pickle.dumps(Code()),
    "code, of torch": lambda: saved({"weight": Code()}),
    "half a file": lambda: saved(STATE)[:-500],
    "whole network": lambda: saved(nn.Linear(3, 2)),
    "TorchScript": script,
    "safetensors": lambda: save(STATE),
    "ONNX": lambda: b"\x08\x07\x12\x07pytorch",
    "list": lambda: saved([torch.zeros(3)]),
    "tensor": lambda: saved(torch.zeros(3)),
    "nested": lambda: saved({"state_dict": STATE}),
    "numbers": lambda: saved({"weight": 1, "bias": 2}),
    "numbered": lambda: saved({0: torch.zeros(3)}),
    "other shapes": lambda: saved(STATE | {"bias": torch.zeros(3)}),
    "one more": lambda: saved(STATE | {"more": torch.zeros(3)}),
    "one less": lambda: saved({"bias": torch.zeros(2)}),
    "sparse": lambda: saved(STATE | {"weight": torch.ones(2, 3).to_sparse()}),
    "without numbers": lambda: saved(STATE | {"weight": torch.ones(2, 3, device="meta")}),
    "NaN": lambda: saved(STATE | {"bias": torch.tensor([0, torch.nan])}),
    "infinity": lambda: saved(STATE | {"bias": torch.tensor([0, torch.inf])}),
    "control characters": lambda: saved(STATE | {"\x1b[2J\n": torch.zeros(3)}),
}


@pytest.mark.parametrize("kind", sorted(STRANGE))
def test_a_file_that_is_no_state_dict_of_the_network_is_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pth"
    path.write_bytes(STRANGE[kind]())
    with pytest.raises(WeightsError, match=rf"^{path} ") as error:
        load_state(nn.Linear(3, 2), path, fault="does not fit the network")
    assert_one_line(str(error.value))
    assert [it.name for it in tmp_path.iterdir()] == ["w.pth"]  # nothing was executed


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_a_state_dict_is_read_in_both_formats_of_torch(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(saved(with_odd_metadata(), **options))
    network = nn.Linear(3, 2)
    load_state(network, tmp_path / "w.pth", fault="")
    torch.testing.assert_close(dict(network.state_dict()), STATE)
    assert type(read_state(tmp_path / "w.pth")) is dict


@pytest.mark.slow
def test_weights_of_a_backbone_that_are_not_finite_are_named(tmp_path: Path) -> None:
    from torchvision.models import get_model

    state = get_model("resnet18").state_dict()
    state["layer1.0.bn1.bias"][3] = torch.nan
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w.pth holds weights that are not finite, in layer1.0.bn1.bias"):
        load_backbone(BackboneConfig(backbone="resnet18", weights=str(tmp_path / "w.pth")), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["blazeface", "retinaface", "scrfd", "sfd", "yunet"])
@pytest.mark.parametrize("kind", ["text", "code", "safetensors", "ONNX", "numbers"])
def test_a_detectors_weights_that_are_none_are_one_line(
    detector: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("w.pth", "w.onnx"):
        Path(name).write_bytes(STRANGE[kind]())
        np.save("anchors.npy", np.zeros((896, 4), np.float32))
        with pytest.raises(WeightsError, match=f"^{name} ") as error:
            load_detector(DetectorConfig(detector=detector, weights=name))
        assert_one_line(str(error.value))
    assert not Path("executed").exists()


def entry(key: bytes = b"\x08location", tag: bytes = b"\n") -> bytes:
    """Return an ONNX file with one tensor in another file, as the smallest messages; varints may be padded."""
    location = tag + key + b"\x12\x14../../../etc/passwd"
    tensor = b"\x6a" + bytes([len(location)]) + location + b"\x70\x01"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    return b"\x08\x07" + b"\x3a" + bytes([len(graph)]) + graph


@pytest.mark.parametrize(
    "content",
    [
        entry(),
        entry(key=b"\x88\x00location"),
        entry(key=b"\x88\x80\x80\x00location", tag=b"\x8a\x80\x00"),
        b"\x18\x00\x00\x00ORTM" + b"\0" * 40,
    ],
)
def test_an_onnx_file_that_refers_to_others_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w.onnx is not one .onnx file with all its tensors"):
        require_one_onnx_file(path)
    for detector in ("scrfd", "yunet"):
        with pytest.raises(WeightsError, match=r"w.onnx is not one .onnx file with all its tensors"):
            load_detector(DetectorConfig(detector=detector, weights=str(path)))
