"""A summary of extraction: faces per frame, lost clips with the reason, and the fidelity of int8."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.schemas import Evaluation, Int8Fidelity
from pipeline.store.clips import ClipFaces
from pipeline.store.reader import Reader

MANY = 3  # so many faces or more are counted together
SOURCES = ("detected", "filled from neighbours in time", "whole frame")


@dataclass(frozen=True)
class CropCounts:
    """The number of face crops per clip."""

    minimum: int
    maximum: int
    mean: float
    clips_without: int


@dataclass(frozen=True)
class LostClips:
    """The number of clips that one stage lost for one reason."""

    stage: str
    reason: str
    clips: int


@dataclass(frozen=True)
class ExtractionReport:
    """Counts over all clips."""

    faces_per_frame: dict[str, int]  # number of faces: frames
    crops_per_clip: CropCounts
    crop_sources: dict[str, int]
    lost: list[LostClips]  # the most frequent reason first
    int8: dict[str, Int8Fidelity]  # by modality; empty if no backbone ran in int8


def summarise_extraction(faces: Reader[ClipFaces], evaluation: Evaluation) -> ExtractionReport:
    """Return the summary of the faces and of all clips that were lost."""
    counts, sources = faces.column("face_counts"), faces.column("sources")
    crops = np.diff(faces.offsets)
    frames = np.bincount(np.minimum(counts, MANY), minlength=MANY + 1).tolist()
    lost = Counter((it.stage, it.reason) for it in evaluation.left_out)
    for modality, failures in evaluation.lost_modalities.items():
        lost.update((f"{modality} modality", reason) for reason in failures.values())
    weights = {modality: origin.weights for modality, origin in evaluation.embeddings.items()}
    return ExtractionReport(
        faces_per_frame={f"{number}{'+' if number == MANY else ''}": count for number, count in enumerate(frames)},
        crops_per_clip=CropCounts(
            minimum=int(crops.min()) if len(crops) else 0,
            maximum=int(crops.max(initial=0)),
            mean=float(crops.mean()) if len(crops) else 0.0,
            clips_without=len(evaluation.lost_modalities.get("visual", {})),
        ),
        crop_sources={source: int((sources == number).sum()) for number, source in enumerate(SOURCES)},
        lost=[LostClips(stage, reason, count) for (stage, reason), count in lost.most_common()],
        int8={modality: it.int8 for modality, it in weights.items() if it.int8 is not None},
    )
