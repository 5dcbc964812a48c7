"""Honest figures: by clip, with interval, baseline, every fold, and what was left out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.predictions import Prediction

CONFIDENCE_BINS = 15


def calibration(predictions: Sequence[Prediction], modality: str) -> dict[str, Any]:
    """Return the expected calibration error, and the reliability curve: for each bin of confidence that has a clip.

    Confidence is the probability of the answer. Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    confidence = np.array([max(it.probabilities[modality] or ()) for it in predictions])
    right = np.array([it.choice(modality) == it.truth for it in predictions])
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    curve = [
        {"clips": int(own.sum()), "confidence": float(confidence[own].mean()), "right": float(right[own].mean())}
        for own in (bins == number for number in np.unique(bins))
    ]
    error = sum(row["clips"] * abs(row["confidence"] - row["right"]) for row in curve) / len(predictions)
    return {"expected_error": float(error), "reliability": curve}
