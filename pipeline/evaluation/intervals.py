"""Honest figures: by clip, with interval, baseline, every fold, and what was left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.predictions import Prediction

BOOTSTRAP_DRAWS = 2000
SIGNIFICANT = 0.05


def speaker_interval(predictions: Sequence[Prediction], modality: str) -> dict[str, list[float]]:
    """Return 95 % intervals of WAR and UAR: percentiles over draws of whole speakers, with replacement.

    Clips of one speaker are alike; drawing single clips would make the interval too narrow.
    """
    draws = Speakers.of(predictions).draws(predictions, modality)
    return {name: percentiles(values) for name, values in draws.items()}


@dataclass(frozen=True)
class Speakers:
    """Speakers to be drawn, with replacement: the same draws for all that is compared."""

    names: list[str]
    classes: int

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> "Speakers":
        """Return those of the predictions' clips."""
        return cls(sorted({it.speaker for it in predictions}), 1 + max(it.truth for it in predictions))

    def draws(self, predictions: Sequence[Prediction], modality: str) -> dict[str, NDArray[np.float64]]:
        """Return WAR and UAR of all predictions together, (draws,) each."""
        place = {name: number for number, name in enumerate(self.names)}
        right, total = (np.zeros((len(self.names), self.classes)) for _ in range(2))
        for it in predictions:
            total[place[it.speaker], it.truth] += 1
            right[place[it.speaker], it.truth] += it.choice(modality) == it.truth
        drawn = np.random.default_rng(0).integers(len(self.names), size=(BOOTSTRAP_DRAWS, len(self.names)))
        hits, clips = right[drawn].sum(1), total[drawn].sum(1)  # (draws, classes)
        recall = np.divide(hits, clips, out=np.full_like(hits, np.nan), where=clips > 0)
        return {"war": hits.sum(1) / clips.sum(1), "uar": np.nanmean(recall, axis=1)}


def percentiles(values: NDArray[np.float64]) -> list[float]:
    """Return the 2.5th and the 97.5th."""
    return [float(value) for value in np.percentile(values, [2.5, 97.5])]
