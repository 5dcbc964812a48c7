"""The steps of extraction: whatever shapes their results is part of what they are kept under."""

import ast
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from pipeline.base.provenance import code_version, source_files
from pipeline.embeddings import step as embeddings
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import LIBRARIES as EMBEDDING
from pipeline.embeddings.tokens import SOURCES, embed_clip
from pipeline.faces import step as faces
from pipeline.faces.crops import LIBRARIES as FACES
from pipeline.faces.crops import FacesConfig, extract_faces
from pipeline.media.probe import probe
from pipeline.memo.extraction import Step
from pipeline.parallel import devices
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.spectrograms import step as spectrograms
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.windows import LIBRARIES as SPECTROGRAMS
from pipeline.spectrograms.windows import extract_windows
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES as FACES_SCHEMA
from pipeline.store.writer import open_writer
from pipeline.training.replicas import train_together

ALONE = ExecutionConfig(scheduler="synchronous")
# They check settings, find folders, and keep numbers to the bit: another version of them computes nothing else.
NEUTRAL = {"fdan", "h5py", "platformdirs", "pydantic", "pydantic_core", "ruamel.yaml", "safetensors"}


@pytest.mark.parametrize(
    ("compute", "named"),
    [
        (probe, ("av", "opencv-python", "numpy")),  # of the two last, nothing is called
        (extract_faces, FACES),
        (extract_windows, (*SPECTROGRAMS, "opencv-python")),  # which decodes pictures
        (embed_clip, (*EMBEDDING["openvino"], "av")),  # which decodes films
        (train_together, ("numpy", "scikit-learn", "torch")),
    ],
)
def test_every_library_that_a_computation_imports_is_one_of_its_ingredients(
    compute: Callable[..., Any], named: Sequence[str]
) -> None:
    imported: set[str] = set()
    for path in source_files(compute.__module__).values():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
    installed = metadata.packages_distributions()
    used = {distribution for name in imported for distribution in installed.get(name, ())}
    assert used - NEUTRAL <= set(named)


def captured(module: Any, call: Callable[[], object]) -> str:
    """Return the fingerprint of the step that a call of the module would fill a file with."""
    with patch.object(module, "extract_to_file") as fill:
        call()
    step: Step = next(argument for argument in fill.call_args.args if isinstance(argument, Step))
    return step.fingerprint


def of_faces(*, run: ExecutionConfig = ALONE, **settings: Any) -> str:
    return captured(faces, lambda: faces.write_faces(Path(), [], FacesConfig(**settings), run=run))


def of_windows(*, run: ExecutionConfig = ALONE, **settings: Any) -> str:
    config = SpectrogramsConfig(**settings)
    return captured(spectrograms, lambda: spectrograms.write_windows(Path(), [], config, run=run))


def of_tokens(
    *, run: ExecutionConfig = ALONE, source: str = "faces", model: str = "", made_by: str = "f", **settings: Any
) -> str:
    """Return the fingerprint of the tokens of a file without any face."""
    path = Path(f"{made_by}.h5")
    told = {"schema": FACES_SCHEMA.name, "fingerprint": made_by, "config": {}}
    with open_writer(path, like={"times": np.empty(0, np.float32)}, attributes=told):
        pass
    reader = Reader(path, schema=FACES_SCHEMA)
    config = BackboneConfig(**({"backbone": "resnet18", "weights": "random", "size_px": 32} | settings))
    arguments: dict[str, Any] = {"source": SOURCES[source], "config": config, "weights": {}, "model": model}
    with patch.object(embeddings, "token_width", return_value=1):
        return captured(embeddings, lambda: embeddings.write_tokens(Path(), reader, run=run, **arguments))


def test_a_step_of_extraction_is_kept_under_all_that_shapes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "int8.xml").write_text("a network")
    (tmp_path / "int8.bin").write_text("its numbers")

    def all_of_them() -> list[str]:
        return [
            of_faces(),
            of_faces(size_px=64),
            of_faces(no_face="whole_frame"),
            of_windows(),
            of_windows(bands=64),
            of_windows(kind="mfcc", bands=20),
            of_tokens(),
            of_tokens(source="mels"),
            of_tokens(size_px=48),
            of_tokens(backbone="resnet34"),
            of_tokens(model="int8.xml"),
            of_tokens(made_by="others"),
        ]

    first = all_of_them()
    assert all_of_them() == first
    assert len({*first}) == len(first)
    monkeypatch.setattr(Pool, "hardware", "another processor")
    assert not {*all_of_them()} & {*first}
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.memo.extraction.code_version", lambda _: "edited")
    assert not {*all_of_them()} & {*first}


@pytest.mark.parametrize("of_step", [of_faces, of_tokens])
def test_other_weights_are_another_step(
    of_step: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = of_step()
    for module in (faces, embeddings):
        monkeypatch.setattr(module, "weights_digest", lambda *_: "others")
    assert of_step() != first


@pytest.mark.parametrize(
    ("of_step", "setting"), [(of_faces, "detector"), (of_windows, "kind"), (of_tokens, "backbone")]
)
def test_a_plugin_counts_by_its_code_and_by_the_libraries_that_it_imports(
    of_step: Callable[..., str], setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = f"own_{setting}"
    # It is a detector, a spectrogram and a backbone in one: none of them is called.
    text = "import bokeh\nimport torch\ndef build(config):\n    return torch.nn.Identity()\n"

    def version(text: str) -> str:
        (tmp_path / f"{module}.py").write_text(text)
        sys.modules.pop(module, None)
        for cached in (source_files, code_version):
            cached.cache_clear()
        importlib.invalidate_caches()
        return of_step(**{setting: f"{module}:build"})

    first = version(text)
    assert version(f"# In other words.\n{text}") == first
    assert version(text.replace("Identity()", "Identity(1)")) != first
    real = metadata.version
    monkeypatch.setattr("pipeline.base.provenance.metadata.version", lambda name: real(name) + "x" * (name == "dvc"))
    assert version(text) == first
    monkeypatch.setattr("pipeline.base.provenance.metadata.version", lambda name: real(name) + "x" * (name == "bokeh"))
    assert version(text) != first


@pytest.mark.parametrize("of_step", [of_faces, of_windows, of_tokens])
def test_media_are_always_computed_by_the_processor_and_tokens_by_the_device(
    of_step: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    found = set()
    for model in ("one GPU", "another"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, model=model: model)
        devices.hardware.cache_clear()
        found |= {of_step(), of_step(run=ALONE.model_copy(update={"device": "cuda"}))}
    devices.hardware.cache_clear()
    assert len(found) == (3 if of_step is of_tokens else 1)


@pytest.mark.parametrize(
    ("old", "new"), [("GenuineIntel", "AuthenticAMD"), ("amx_bf16", "ht"), ("avx512_bf16", ""), ("avx_vnni", "")]
)
def test_another_kind_of_processor_has_another_name(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: sse2 avx_vnni avx512_bf16 amx_bf16\n\n"
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")

    def name(text: str) -> str:
        (tmp_path / "cpuinfo").write_text(text)
        devices.hardware.cache_clear()
        return devices.hardware("cpu")

    first = name(told)
    assert name(f"{told}processor\t: 1\nvendor_id\t: GenuineIntel\n") == first
    assert name(told.replace(old, new)) != first
    # And so has one for which numpy knows other instructions, or none beyond those that it takes for granted.
    monkeypatch.setattr("numpy.show_config", lambda **_: {"SIMD Extensions": {"baseline": ["X86_V2"]}})
    assert name(told) != first
    devices.hardware.cache_clear()
