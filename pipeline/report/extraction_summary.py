"""Summary of extraction: faces per frame, clips lost and why, and the fidelity of int8."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.store.clips import ClipFaces
from pipeline.store.reader import Reader

MANY = 3  # frames with this many faces or more are counted together
SOURCES = ("detected", "filled from neighbours in time", "whole frame")


def summarise_extraction(faces: Reader[ClipFaces], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts of frames by number of faces, crops by source, lost clips by reason, and the fidelity of int8."""
    face_counts, sources = faces.column("face_counts"), faces.column("sources")
    crops = np.diff(faces.offsets)
    frames = np.bincount(np.minimum(face_counts, MANY), minlength=MANY + 1).tolist()
    lost = Counter((row["stage"], row["reason"]) for row in metrics["left_out"])
    for kind, failures in metrics["lost_modalities"].items():
        lost.update((f"{kind} side", reason) for reason in failures.values())
    return {
        "faces_per_frame": {f"{number}{'+' if number == MANY else ''}": count for number, count in enumerate(frames)},
        "crops_per_clip": {"least": int(crops.min(initial=0)), "most": int(crops.max(initial=0))}
        | {"mean": float(crops.mean()) if len(crops) else 0.0, "clips_without": int((crops == 0).sum())},
        "sources": {name: int((sources == number).sum()) for number, name in enumerate(SOURCES)},
        "lost": [{"stage": stage, "reason": reason, "clips": count} for (stage, reason), count in lost.most_common()],
        "int8": {
            kind: row["weights"]["int8"] for kind, row in metrics["embeddings"].items() if "int8" in row["weights"]
        },
    }
