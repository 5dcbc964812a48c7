"""A page's worth of results, synthesised: four clips of two emotions, or thousands."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.evaluation.predictions import Prediction
from pipeline.evaluation.projections import answer_row, worst
from pipeline.evaluation.scores import evaluate
from pipeline.report.extraction_summary import summarise_extraction
from pipeline.report.page import Results, render_report
from pipeline.report.thumbnails import Thumbnails
from pipeline.store.clips import ClipFaces, ClipWindows
from pipeline.store.columns import Ragged, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES, WINDOWS
from pipeline.store.writer import open_writer
from pipeline.training.curves import Curves

CLASSES = ["anger", "fear"]
FIGURES = ("ablation", "attention", "curves", "extraction", "faces", "reliability", "spectrograms", "spread", "tsne")
EMBEDDINGS = {
    kind: {"weights": {"name": "imagenet", "sha256": "ab" * 32}, "config": {}, "upstream": {}, "fingerprint": "cafe"}
    for kind in ("visual", "acoustic")
}


def smooth(seed: int, px: int = 64) -> np.ndarray:
    """Return a picture (px, px, 3) that is as hard to pack as a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((px, px), Image.Resampling.BICUBIC))


def write_stores(folder: Path, clip_ids: list[str], *, without_face: str = "") -> Thumbnails:
    """Write faces and spectrograms, three of each a clip, and return what shows them."""
    faces, sounds = folder / "faces.h5", folder / "spectrograms.h5"
    no_faces = ClipFaces.empty()
    with open_writer(faces, like=to_columns(no_faces), attributes={"schema": FACES.name}) as writer:
        for number, clip_id in enumerate(clip_ids):
            writer.append(clip_id, to_columns(no_faces if clip_id == without_face else _faces(number)))
    with open_writer(sounds, like=to_columns(ClipWindows.empty(32)), attributes={"schema": WINDOWS.name}) as writer:
        for number, clip_id in enumerate(clip_ids):
            values = np.random.default_rng(number).random((60, 32), np.float32)
            windows = Ragged(values, np.full(3, 20, np.int64))
            writer.append(
                clip_id, to_columns(ClipWindows(np.arange(3, dtype=np.float32), np.ones(3, np.float32), windows))
            )
    return Thumbnails(Reader(faces, schema=FACES), Reader(sounds, schema=WINDOWS))


def _faces(number: int) -> ClipFaces:
    file = io.BytesIO()
    Image.fromarray(smooth(number)).save(file, "JPEG")
    jpeg = np.frombuffer(file.getvalue(), np.uint8)
    return ClipFaces(
        times=np.arange(3, dtype=np.float32),
        boxes=np.zeros((3, 5), np.float32),
        face_counts=np.asarray([1, 2, 5], np.int32),
        sources=np.asarray([0, 0, 1], np.uint8),
        angles=np.zeros(3, np.float32),
        crops=Ragged.join([jpeg] * 3),
    )


def prediction(protocol: str, clip: int, chosen: int, *, shared: bool = False, name: str = "c") -> Prediction:
    """Return what was said of a clip: they show anger and fear, two by two, and lie in folds 0 and 1 by turns."""
    values = [0.9, 0.1] if chosen == 0 else [0.1, 0.9]
    said: dict[str, list[float] | None] = {
        "visual": None,
        "acoustic": values,
        "fused": values,
        "video_only": None,
        "audio_only": values,
    }
    return Prediction(protocol, shared, clip % 2, 0, f"{name}{clip}", f"s{clip % 20}", clip // 2 % 2, said)


def predictions(clips: int = 4, name: str = "c") -> list[Prediction]:
    """Return those of two protocols: folds are right on 3 of 4, random on all."""
    rows = [prediction("folds", clip, [0, 0, 1, 0][clip % 4], name=name) for clip in range(clips)]
    return rows + [prediction("random", clip, clip // 2 % 2, shared=True, name=name) for clip in range(clips)]


def metrics(told: list[Prediction] | None = None, **changes: Any) -> dict[str, Any]:
    """Return what the stage evaluate writes."""
    values = {
        "clips": 4,
        "left_out": [],
        "lost_modalities": {"visual": {}, "acoustic": {}},
        "classes": CLASSES,
        "weights": {"visual": "imagenet", "acoustic": "imagenet"},
        "embeddings": EMBEDDINGS,
        "code": "c0de" * 16,
        "protocols": evaluate(told or predictions(), CLASSES),
    }
    return values | changes


def ablation(row: str = "less") -> dict[str, Any]:
    """Return what the stage ablate writes: a row that is worse, and surely so before correction."""
    full = {"row": "full", "runs": 2, "mean": 0.75, "sd": 0.125, "difference": 0.0, "p": None, "p_holm": None}
    less = {"row": row, "runs": 1, "mean": 0.5, "sd": None, "difference": -0.25, "p": 0.04, "p_holm": 0.08}
    intervals = [{"interval_95": [0.0, 0.0]}, {"interval_95": [-0.375, -0.125]}]
    rows = [one | two for one, two in zip((full, less), intervals, strict=True)]
    return {"protocol": "folds", "least_p": 0.5, "rows": rows}


def explored(told: list[Prediction], *, attended: int = 2, places: int = 3) -> dict[str, Any]:
    """Return what `pipeline.exploration` finds: clips in a grid, attention that rises with the window."""
    own = [it for it in told if it.protocol == "folds"]
    clips = [
        answer_row(it, CLASSES)
        | {
            when: {"visual": [float(place % 40), float(place // 40)], "acoustic": [place % 40 + 0.5, place // 40 + 0.5]}
            for when in ("before", "after")
        }
        for place, it in enumerate(own)
    ]
    shares = (np.arange(places * places).reshape(places, places) / places**3).tolist()
    matrices = {"frames_to_windows": shares, "windows_to_frames": shares}
    times = {name: np.linspace(0, 2, places).tolist() for name in ("frames_s", "windows_s")}
    attention = [answer_row(it, CLASSES) | times | matrices for it in own[:attended]]
    told_of = {"protocol": "folds", "fold": 0, "seed": 0, "tested": len(own)}
    return {**told_of, "clips": clips, "mistakes": worst(own, CLASSES), "attention": attention}


def curves(layers: int = 2) -> Curves:
    """Return two runs of three epochs."""
    row = {"cross_entropy": 1.0, "validation_uar": 0.5, "alignment": 3.0}
    row |= {f"alignment_{layer}": float(layer) for layer in range(1, layers + 1)}
    return Curves({name: [{"epoch": float(epoch)} | row for epoch in (1, 2, 3)] for name in ("folds-0-0", "folds-1-0")})


def png(px: int = 64) -> bytes:
    """Return a picture as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(smooth(0, px)).save(file, "PNG")
    return file.getvalue()


def render(thumbnails: Thumbnails, told: dict[str, Any], found: dict[str, Any] | None = None, **changes: Any) -> str:
    """Return the page of these metrics."""
    parts: dict[str, Any] = {
        "metrics": told,
        "ablation": ablation(),
        "explored": found or explored(predictions()),
        "health": summarise_extraction(thumbnails.faces, told),
        "curves": curves(),
        "figures": dict.fromkeys(FIGURES, png()),
        "params": {"train": {}, "corpora": {"own": {"adapter": "folder", "root": "x"}}},
    }
    return render_report(Results(**(parts | changes)), thumbnails)
