"""Synthetic results for the report: four clips of two emotions, or thousands."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.evaluation.ablation_schemas import Ablation, AblationRow
from pipeline.evaluation.predictions import Prediction
from pipeline.evaluation.projections import most_confident_mistakes
from pipeline.evaluation.schemas import ClipAttention, Evaluation, Exploration, ModalityPoints, ProjectedClip
from pipeline.evaluation.scores import evaluate
from pipeline.report.extraction_summary import summarise_extraction
from pipeline.report.page import FIGURE_STAGES, Results, render_report
from pipeline.report.thumbnails import Thumbnails
from pipeline.store.clips import ClipFaces, ClipWindows
from pipeline.store.columns import Ragged, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES, WINDOWS
from pipeline.store.writer import open_writer
from pipeline.training.curves import Curves

CLASSES = ["anger", "fear"]
EMBEDDINGS = {
    modality: {
        "weights": {"name": "imagenet", "sha256": "ab" * 32},
        "config": {},
        "upstream": {},
        "fingerprint": "cafe",
    }
    for modality in ("visual", "acoustic")
}


def smooth(seed: int, px: int = 64) -> np.ndarray:
    """Return a picture (px, px, 3) that compresses as badly as a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((px, px), Image.Resampling.BICUBIC))


def write_stores(folder: Path, clip_ids: list[str], *, without_face: str = "") -> Thumbnails:
    """Write three faces and three windows for each clip, and return their thumbnails."""
    faces, sounds = folder / "faces.h5", folder / "spectrograms.h5"
    with open_writer(faces, like=to_columns(ClipFaces.empty()), attributes={"schema": FACES.name}) as writer:
        for number, clip_id in enumerate(clip_ids):
            if clip_id != without_face:
                writer.append(clip_id, to_columns(_faces(number)))
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
        leads=np.zeros(3, np.float32),
        angles=np.zeros(3, np.float32),
        crops=Ragged.join([jpeg] * 3),
    )


def prediction(protocol: str, clip: int, predicted: int, *, shared: bool = False, name: str = "c") -> Prediction:
    """Return a prediction; clips show anger and fear, two by two, and alternate between folds 0 and 1."""
    values = [0.9, 0.1] if predicted == 0 else [0.1, 0.9]
    probabilities: dict[str, list[float] | None] = {
        "visual": None,
        "acoustic": values,
        "fused": values,
        "video_only": None,
        "audio_only": values,
    }
    return Prediction(protocol, shared, clip % 2, 0, f"{name}{clip}", f"s{clip % 20}", clip // 2 % 2, probabilities, 0)


def predictions(clips: int = 4, name: str = "c") -> list[Prediction]:
    """Return predictions for two protocols: folds is right on 3 of 4 clips, random on all."""
    rows = [prediction("folds", clip, [0, 0, 1, 0][clip % 4], name=name) for clip in range(clips)]
    return rows + [prediction("random", clip, clip // 2 % 2, shared=True, name=name) for clip in range(clips)]


def evaluation(tested: list[Prediction] | None = None, **changes: Any) -> Evaluation:
    """Return what the stage evaluate writes."""
    values = {
        "clips": 4,
        "left_out": [],
        "lost_modalities": {"visual": {}, "acoustic": {}},
        "classes": CLASSES,
        "weights": {"visual": "imagenet", "acoustic": "imagenet"},
        "embeddings": EMBEDDINGS,
        "code_version": "c0de" * 16,
        "notes": [],
        "protocols": evaluate(tested or predictions(), CLASSES),
    }
    return Evaluation.model_validate(values | changes)


def ablation(row: str = "less", **changes: Any) -> Ablation:
    """Return what the stage ablate writes: a row that is worse, significantly so before correction only."""
    full = AblationRow(
        name="full",
        section="reference",
        lost_clips=0,
        lost_modality=0,
        runs=2,
        uar=0.74,
        uar_interval=(0.6, 0.85),
        validation_uar=0.7,
        mean=0.75,
        sd=0.125,
        difference=0.0,
        interval_95=(0.0, 0.0),
        p=None,
        p_holm=None,
    )
    less = AblationRow(
        name=row,
        section="spectrograms",
        lost_clips=3,
        lost_modality=12,
        runs=1,
        uar=0.49,
        uar_interval=(0.3, 0.6),
        validation_uar=0.72,
        mean=0.5,
        sd=None,
        difference=-0.25,
        interval_95=(-0.375, -0.125),
        p=0.04,
        p_holm=0.08,
    )
    values = evaluation().model_dump(exclude={"schema_id", "code_version", "protocols"}) | {
        "protocol": "folds",
        "cluster": "speaker",
        "clusters": 6,
        "training_sets": 6,
        "seeds": 1,
        "rows": [full, less],
        "selection": {"rows": [row] * 6, "uar": 0.49, "interval_95": (0.3, 0.6)},
        "minimum_p": 1 / 32,
        "minimum_p_holm": 1 / 32,
    }
    return Ablation.model_validate(values | changes)


def answer_fields(answer: Prediction) -> dict[str, Any]:
    """Return the fields of a clip's fused answer."""
    predicted = CLASSES[answer.predicted_class("fused")]
    probability = round(answer.confidence, 4)
    return {
        "clip_id": answer.clip_id,
        "truth": CLASSES[answer.truth],
        "predicted": predicted,
        "probability": probability,
    }


def exploration(tested: list[Prediction], *, attended: int = 2, side: int = 3) -> Exploration:
    """Return clips in a grid, and for the first `attended` clips attention that rises with the window."""
    members = [it for it in tested if it.protocol == "folds"]
    clips = []
    for number, member in enumerate(members):
        x, y = float(number % 40), float(number // 40)
        points = ModalityPoints(visual=(x, y), acoustic=(x + 0.5, y + 0.5))
        clips.append(ProjectedClip(**answer_fields(member), before=points, after=points))
    shares = (np.arange(side * side).reshape(side, side) / side**3).tolist()
    times = np.linspace(0, 2, side).tolist()
    attention = [
        ClipAttention(
            **answer_fields(it),
            frames_s=times,
            windows_s=times,
            frames_to_windows=shares,
            windows_to_frames=shares,
        )
        for it in members[:attended]
    ]
    mistakes = most_confident_mistakes(members, CLASSES)
    return Exploration(
        protocol="folds",
        fold=0,
        seed=0,
        test_clips=len(members),
        clips=clips,
        mistakes=mistakes,
        attention=attention,
    )


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


def render(thumbnails: Thumbnails, results: Evaluation, details: Exploration | None = None, **changes: Any) -> str:
    """Return the page of an evaluation."""
    parts: dict[str, Any] = {
        "evaluation": results,
        "ablation": ablation(),
        "exploration": details or exploration(predictions()),
        "extraction": summarise_extraction(thumbnails.faces, results),
        "curves": curves(),
        "figures": dict.fromkeys(FIGURE_STAGES, png()),
        "params": {"train": {}, "corpora": {"mine": {"adapter": "folder", "root": "x"}}},
    }
    return render_report(Results(**(parts | changes)), thumbnails)
