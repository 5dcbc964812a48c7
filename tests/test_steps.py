"""The steps of extraction: whatever shapes their results is part of what they are kept under."""

import ast
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from pipeline.backbones import BackboneConfig
from pipeline.embedding import SOURCES, embed_clip
from pipeline.engines import LIBRARIES as EMBEDDING
from pipeline.extraction import Step
from pipeline.faces import LIBRARIES as FACES
from pipeline.faces import FacesConfig, extract_faces
from pipeline.media import probe
from pipeline.parallel import Pool, RunConfig
from pipeline.provenance import source_files
from pipeline.replicas import train_together
from pipeline.spectrograms import LIBRARIES as SPECTROGRAMS
from pipeline.spectrograms import SpectrogramsConfig, extract_windows
from pipeline.steps import embeddings, faces, spectrograms
from pipeline.store import PICTURES, Reader, writing

ALONE = RunConfig(scheduler="synchronous")
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
    with patch.object(module, "fill") as fill:
        call()
    step: Step = next(argument for argument in fill.call_args.args if isinstance(argument, Step))
    return step.fingerprint


def store(folder: Path, *, fingerprint: str = "f") -> Reader:
    """Return a file of faces without any."""
    path = folder / f"{fingerprint}.h5"
    told = {"schema": PICTURES["visual"], "fingerprint": fingerprint, "config": {}}
    with writing(path, like={"times": np.empty(0, np.float32)}, attributes=told):
        pass
    return Reader(path, schema=PICTURES["visual"])


def test_a_step_of_extraction_is_kept_under_all_that_shapes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"backbone": "resnet18", "weights": "random", "size_px": 32}

    def of_faces(**settings: Any) -> str:
        return captured(faces, lambda: faces.write_faces(tmp_path, [], FacesConfig(**settings), run=ALONE))

    def of_windows(**settings: Any) -> str:
        config = SpectrogramsConfig(**settings)
        return captured(spectrograms, lambda: spectrograms.write_windows(tmp_path, [], config, run=ALONE))

    def of_tokens(*, source: str = "faces", sha256: str = "w", fingerprint: str = "f", **settings: Any) -> str:
        reader = store(tmp_path, fingerprint=fingerprint)
        arguments: dict[str, Any] = {"source": SOURCES[source], "config": BackboneConfig(**(small | settings))}
        arguments |= {"weights": {"sha256": sha256}, "model": "", "run": ALONE}
        return captured(embeddings, lambda: embeddings.write_tokens(tmp_path, reader, {}, **arguments))

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
            of_tokens(sha256="others"),
            of_tokens(fingerprint="made_otherwise"),
        ]

    first = all_of_them()
    assert all_of_them() == first
    assert len({*first}) == len(first)
    monkeypatch.setattr(Pool, "hardware", "another processor")
    assert not {*all_of_them()} & {*first}
    monkeypatch.undo()
    monkeypatch.setattr("pipeline.provenance.metadata.version", lambda _: "0.0")
    assert not {*all_of_them()} & {*first}
    monkeypatch.undo()
    monkeypatch.setattr("pipeline.extraction.code_version", lambda _: "edited")
    assert not {*all_of_them()} & {*first}


def test_other_weights_of_a_detector_are_another_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_faces() -> str:
        return captured(faces, lambda: faces.write_faces(tmp_path, [], FacesConfig(), run=ALONE))

    first = of_faces()
    monkeypatch.setattr(faces, "weights_digest", lambda _: "others")
    assert of_faces() != first
