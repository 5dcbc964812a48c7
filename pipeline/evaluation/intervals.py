"""Confidence intervals of WAR and UAR, from a bootstrap over speakers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.predictions import Prediction
from pipeline.evaluation.schemas import Interval, ScoreIntervals

BOOTSTRAP_SAMPLES = 2000
SIGNIFICANCE_LEVEL = 0.05


def speaker_intervals(predictions: Sequence[Prediction], modality: str) -> ScoreIntervals:
    """Return 95 % intervals of WAR and UAR: percentiles over bootstrap samples of whole speakers.

    Clips of one speaker are similar; resampling single clips would make the interval too narrow.
    """
    samples = SpeakerBootstrap.of(predictions).sample_scores(predictions, modality)
    return ScoreIntervals(war=percentile_interval(samples["war"]), uar=percentile_interval(samples["uar"]))


@dataclass(frozen=True)
class SpeakerBootstrap:
    """Bootstrap samples of speakers, drawn with replacement: the same samples for everything that is compared."""

    speakers: list[str]
    classes: int

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> "SpeakerBootstrap":
        """Return the bootstrap over the speakers of the predictions."""
        return cls(sorted({it.speaker for it in predictions}), 1 + max(it.truth for it in predictions))

    def sample_scores(self, predictions: Sequence[Prediction], modality: str) -> dict[str, NDArray[np.float64]]:
        """Return WAR and UAR of every bootstrap sample, (samples,) each."""
        position = {speaker: number for number, speaker in enumerate(self.speakers)}
        correct, total = (np.zeros((len(self.speakers), self.classes)) for _ in range(2))
        for prediction in predictions:
            cell = position[prediction.speaker], prediction.truth
            total[cell] += 1
            correct[cell] += prediction.predicted_class(modality) == prediction.truth
        samples = np.random.default_rng(0).integers(len(self.speakers), size=(BOOTSTRAP_SAMPLES, len(self.speakers)))
        times = np.stack([np.bincount(row, minlength=len(self.speakers)) for row in samples]).astype(float)
        hits, clips = times @ correct, times @ total  # (samples, classes); whole numbers, so exact
        recall = np.divide(hits, clips, out=np.full_like(hits, np.nan), where=clips > 0)
        return {"war": hits.sum(1) / clips.sum(1), "uar": np.nanmean(recall, axis=1)}


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """Return the 2.5th and the 97.5th percentile."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
