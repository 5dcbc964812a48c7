"""Calibration of probabilities: how often answers of a given confidence are right."""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.predictions import Prediction
from pipeline.evaluation.schemas import Calibration, ReliabilityBin

CONFIDENCE_BINS = 15


def calibration(predictions: Sequence[Prediction], modality: str) -> Calibration:
    """Return the expected calibration error, and the reliability curve over the bins that hold a clip.

    Confidence is the probability of the answer. Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    confidence = np.array([max(it.probabilities[modality] or ()) for it in predictions])
    correct = np.array([it.predicted_class(modality) == it.truth for it in predictions])
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    curve = [
        ReliabilityBin(
            clips=int(members.sum()),
            confidence=float(confidence[members].mean()),
            accuracy=float(correct[members].mean()),
        )
        for members in (bins == number for number in np.unique(bins))
    ]
    error = sum(it.clips * abs(it.confidence - it.accuracy) for it in curve) / len(predictions)
    return Calibration(expected_error=float(error), reliability=curve)
