"""The extraction steps: everything that shapes a result changes the fingerprint."""

import ast
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from pipeline.base.provenance import code_version, distributions_by_package, source_files
from pipeline.embeddings import step as embeddings
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import libraries
from pipeline.embeddings.tokens import SOURCES, embed_clip
from pipeline.faces import step as faces
from pipeline.faces.crops import LIBRARIES as FACES
from pipeline.faces.crops import FacesConfig, extract_clip_faces
from pipeline.media.probe import probe
from pipeline.memo.extraction import Step
from pipeline.parallel import devices
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.spectrograms import step as spectrograms
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.windows import LIBRARIES as SPECTROGRAMS
from pipeline.spectrograms.windows import extract_windows
from pipeline.store.clips import ClipFaces
from pipeline.store.columns import to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES as FACES_SCHEMA
from pipeline.store.writer import open_writer
from pipeline.training.ensembles import train_ensembles

SYNCHRONOUS = ExecutionConfig(scheduler="synchronous")
# These check settings, find folders, store numbers or compile loops exactly: their version does not change a result.
NEUTRAL = {
    *("fdan", "h5py", "numba", "pillow", "platformdirs", "psutil"),
    *("pydantic", "pydantic_core", "ruamel.yaml", "safetensors"),
}


@pytest.mark.parametrize(
    ("compute", "listed"),
    [
        (probe, ("av", "opencv-python", "numpy")),  # the last two are imported but not used
        (extract_clip_faces, FACES),
        (extract_windows, (*SPECTROGRAMS, "opencv-python")),  # opencv only decodes images
        (embed_clip, (*libraries(BackboneConfig(engine="openvino")), *libraries(BackboneConfig()), "av")),  # av: videos
        (train_ensembles, ("numpy", "scikit-learn", "torch")),
    ],
)
def test_every_imported_library_is_an_ingredient(compute: Callable[..., Any], listed: Sequence[str]) -> None:
    imported: set[str] = set()
    for path in source_files(compute.__module__).values():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
    installed = distributions_by_package(tuple(sys.path))
    used = {distribution for name in imported for distribution in installed.get(name, ())}
    assert used - NEUTRAL <= set(listed)


def capture_fingerprint(module: Any, call: Callable[[], object]) -> str:
    """Return the fingerprint of the step that `call` passes to the module's `extract_to_file`."""
    with patch.object(module, "extract_to_file") as mock:
        call()
    step: Step = next(argument for argument in mock.call_args.args if isinstance(argument, Step))
    return step.fingerprint


def faces_fingerprint(*, run: ExecutionConfig = SYNCHRONOUS, **settings: Any) -> str:
    return capture_fingerprint(faces, lambda: faces.write_faces(Path(), [], FacesConfig(**settings), run=run))


def windows_fingerprint(*, run: ExecutionConfig = SYNCHRONOUS, **settings: Any) -> str:
    config = SpectrogramsConfig(**settings)
    return capture_fingerprint(spectrograms, lambda: spectrograms.write_windows(Path(), [], config, run=run))


def tokens_fingerprint(
    *, run: ExecutionConfig = SYNCHRONOUS, source: str = "faces", made_by: str = "f", **settings: Any
) -> str:
    """Return the fingerprint of the tokens of a file without faces."""
    path = Path(f"{made_by}.h5")
    attributes = {"schema": FACES_SCHEMA.name, "fingerprint": made_by, "config": {}}
    with open_writer(path, like=to_columns(ClipFaces.empty()), attributes=attributes):
        pass
    reader = Reader(path, schema=FACES_SCHEMA)
    config = BackboneConfig(**({"backbone": "resnet18", "weights": "random", "size_px": 32} | settings))
    arguments: dict[str, Any] = {"source": SOURCES[source], "config": config, "weights": {}, "model": ""}
    with patch.object(embeddings, "token_width", return_value=1):
        return capture_fingerprint(embeddings, lambda: embeddings.write_tokens(Path(), reader, run=run, **arguments))


@pytest.mark.slow
def int8_fingerprint(model: str) -> str:
    config = BackboneConfig(backbone="resnet18", weights="random", size_px=32, engine="openvino", precision="int8")
    with Pool(SYNCHRONOUS) as pool:
        return embeddings.tokens_step(SOURCES["faces"], config, pool, model=model, upstream="f").fingerprint


def test_fingerprint_depends_on_settings_hardware_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        (tmp_path / f"{name}.xml").write_text("a network")
        (tmp_path / f"{name}.bin").write_text(f"the {name} numbers")

    def all_fingerprints() -> list[str]:
        return [
            faces_fingerprint(),
            faces_fingerprint(size_px=64),
            faces_fingerprint(no_face="whole_frame"),
            windows_fingerprint(),
            windows_fingerprint(bands=64),
            windows_fingerprint(kind="mfcc", bands=20),
            tokens_fingerprint(),
            tokens_fingerprint(source="mels"),
            tokens_fingerprint(size_px=48),
            tokens_fingerprint(backbone="resnet34"),
            tokens_fingerprint(convolution="direct"),
            int8_fingerprint("first.xml"),
            int8_fingerprint("second.xml"),
            tokens_fingerprint(made_by="others"),
        ]

    first = all_fingerprints()
    assert all_fingerprints() == first
    assert len({*first}) == len(first)
    monkeypatch.setattr(Pool, "hardware", "another processor")
    assert not {*all_fingerprints()} & {*first}
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.memo.extraction.code_version", lambda _: "edited")
    assert not {*all_fingerprints()} & {*first}


@pytest.mark.slow
@pytest.mark.parametrize("step_fingerprint", [faces_fingerprint, tokens_fingerprint])
def test_fingerprint_depends_on_the_weights(
    step_fingerprint: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = step_fingerprint()
    for module in (faces, embeddings):
        monkeypatch.setattr(module, "weights_digest", lambda *_: "others")
    assert step_fingerprint() != first


@pytest.mark.parametrize(
    ("step_fingerprint", "setting"),
    [(faces_fingerprint, "detector"), (windows_fingerprint, "kind"), (tokens_fingerprint, "backbone")],
)
def test_fingerprint_depends_on_a_plugins_code_and_libraries(
    step_fingerprint: Callable[..., str], setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = f"user_{setting}"
    # One builder serves as detector, spectrogram and backbone, because none of them is called.
    text = "import bokeh\nimport torch\ndef build(config):\n    return torch.nn.Identity()\n"

    def version(text: str) -> str:
        (tmp_path / f"{module}.py").write_text(text)
        sys.modules.pop(module, None)
        for cached in (source_files, code_version):
            cached.cache_clear()
        importlib.invalidate_caches()
        return step_fingerprint(**{setting: f"{module}:build"})

    first = version(text)
    assert version(f"# In other words.\n{text}") == first
    assert version(text.replace("Identity()", "Identity(1)")) != first
    real = metadata.version
    monkeypatch.setattr("pipeline.base.provenance.metadata.version", lambda name: real(name) + "x" * (name == "dvc"))
    assert version(text) == first
    monkeypatch.setattr("pipeline.base.provenance.metadata.version", lambda name: real(name) + "x" * (name == "bokeh"))
    assert version(text) != first


@pytest.mark.slow
@pytest.mark.parametrize("step_fingerprint", [faces_fingerprint, windows_fingerprint, tokens_fingerprint])
def test_only_tokens_depend_on_the_device(
    step_fingerprint: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    fingerprints = set()
    for model in ("one GPU", "another"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, model=model: model)
        devices.hardware.cache_clear()
        fingerprints |= {step_fingerprint(), step_fingerprint(run=SYNCHRONOUS.model_copy(update={"device": "cuda"}))}
    devices.hardware.cache_clear()
    assert len(fingerprints) == (3 if step_fingerprint is tokens_fingerprint else 1)


@pytest.mark.parametrize(
    ("old", "new"), [("GenuineIntel", "AuthenticAMD"), ("amx_bf16", "ht"), ("avx512_bf16", ""), ("avx_vnni", "")]
)
def test_different_processors_have_different_names(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: sse2 avx_vnni avx512_bf16 amx_bf16\n\n"
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")

    def name(text: str) -> str:
        (tmp_path / "cpuinfo").write_text(text)
        devices.hardware.cache_clear()
        return devices.hardware("cpu")

    first = name(cpuinfo)
    assert name(f"{cpuinfo}processor\t: 1\nvendor_id\t: GenuineIntel\n") == first
    assert name(cpuinfo.replace(old, new)) != first
    # The instruction sets that numpy finds are part of the name; the key "found" is missing if there are none.
    monkeypatch.setattr("numpy.show_config", lambda **_: {"SIMD Extensions": {"baseline": ["X86_V2"]}})
    assert name(cpuinfo) != first
    devices.hardware.cache_clear()
