"""Simulates the intervals and the test of the figures: coverage, type-I error and power, by the functions themselves.

`python -m benchmarks.inference` prints the tables of docs/evaluation.md, in five minutes.
"""

import sys
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.special import softmax
from scipy.stats import norm, wilcoxon

from pipeline.evaluation.calibration import count_bins, equal_bins, expected_error_interval
from pipeline.evaluation.clusters import ClusterCounts, uar
from pipeline.evaluation.intervals import difference_interval, score_interval
from pipeline.evaluation.randomisation import minimum_p_value, swap_p_value
from pipeline.evaluation.schemas import SIGNIFICANCE_LEVEL

SHARES = (0.40, 0.18, 0.14, 0.10, 0.08, 0.06, 0.04)  # of the classes
CLASSES = len(SHARES)
ABILITIES = np.linspace(0.9, -0.5, CLASSES)  # probits of recall: common classes are easier
CLIP_SD = 0.7  # of a clip's difficulty, which rows and seeds share; the rest of unit variance is chance


@dataclass(frozen=True)
class Design:
    """Two rows that answer the clips of the same folds. Whether an answer is right is a probit model.

    Each row has a random effect of every fold (its training set), of every speaker, and of every run (fold and seed).
    The sd of each is `strength` times the noise of a fold's UAR that chance in its clips makes.
    """

    folds: int
    speakers: int = 1  # per fold
    clips: int = 60  # per speaker
    seeds: int = 1
    strength: float = 1.0
    gain: float = 0.0  # of the first row, in probits
    varying: bool = False  # whether folds have very different numbers of clips, as dialogues have

    @property
    def effect_sd(self) -> float:
        """The standard deviation of each effect, in probits: near a recall of a half, a probit is 0.4 of UAR."""
        clips = self.clips * self.speakers * np.array(SHARES)
        return float(self.strength * np.sqrt((0.25 / clips).sum()) / CLASSES / norm.pdf(0))

    def truth(self, row: int) -> float:
        """Return the expected UAR of a row over all effects."""
        sd = np.sqrt(1 + 3 * self.effect_sd**2)
        return float(norm.cdf((ABILITIES + self.gain * (row == 0)) / sd).mean())


COVERAGE = {
    "120 by fold": Design(4, clips=120),
    "60 by fold": Design(10),
    "60 by fold ": Design(24),
    "80 by fold": Design(91, clips=80),
    "60 by fold, 20 seeds": Design(10, seeds=20),
    "four speakers by fold, 60 each": Design(6, 4),
    "60 by fold, effects three times as strong": Design(10, strength=3),
    "60 by fold, no effects": Design(10, strength=0),
    "60 on average, sizes vary": Design(10, varying=True),
    "21 by fold": Design(10, clips=21),
    "9 on average, sizes vary: dialogues": Design(280, clips=9, strength=0.5, varying=True),
    "30 on average, sizes vary": Design(4, clips=30, varying=True),
}
GAINS = (0.155, 0.31)  # 5 and 10 points of UAR
Corpus = tuple[NDArray[np.int64], NDArray[np.int64]]  # right answers (rows, seeds, folds, C), clips (folds, C)


def simulate(design: Design, seed: int) -> Corpus:
    """Return both rows' right answers by seed, fold and class, and the clips by fold and class."""
    rng = np.random.default_rng(seed)
    fold, speaker = _assign(design, rng)
    truth = rng.choice(CLASSES, size=len(fold), p=SHARES)
    sizes = 2, design.seeds, len(fold)
    effects = [rng.standard_normal((2, 1, design.folds))[..., fold]]
    effects += [rng.standard_normal((2, 1, speaker.max() + 1))[..., speaker]]
    effects += [rng.standard_normal((2, design.seeds, design.folds))[..., fold]]
    noise = CLIP_SD * rng.standard_normal(len(fold)) + np.sqrt(1 - CLIP_SD**2) * rng.standard_normal(sizes)
    gain = np.array([design.gain, 0.0])[:, None, None]
    right = design.effect_sd * sum(effects) + ABILITIES[truth] + gain + noise > 0
    cell = fold * CLASSES + truth
    clips = np.bincount(cell, minlength=design.folds * CLASSES)
    hits = [[np.bincount(cell, weights=of_run, minlength=len(clips)) for of_run in row] for row in right]
    return np.array(hits, np.int64).reshape(2, design.seeds, design.folds, CLASSES), clips.reshape(-1, CLASSES)


def _assign(design: Design, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the fold and the speaker of each clip, (n,)."""
    speakers = np.arange(design.folds * design.speakers)
    sizes = np.full(len(speakers), design.clips)
    if design.varying:
        sizes = 1 + rng.poisson(rng.gamma(1, design.clips, len(speakers)))
    return np.repeat(speakers // design.speakers, sizes), np.repeat(speakers, sizes)


def count_folds(corpus: Corpus) -> list[ClusterCounts]:
    """Return the counts of both rows with the folds as clusters and seeds summed, as `count_answers` does."""
    hits, clips = corpus
    return [ClusterCounts(row.sum(0), clips * len(row), np.arange(len(clips))) for row in hits]


def measure_coverage(design: Design, corpora: int) -> tuple[float, float]:
    """Return how often the 95 % intervals of a UAR and of a difference of UAR hold the truth."""
    score, difference = design.truth(0), design.truth(0) - design.truth(1)
    covered = np.zeros((corpora, 2))
    for number in range(corpora):
        first, second = count_folds(simulate(design, number))
        intervals = score_interval(first, uar), difference_interval(first, second, uar)
        covered[number] = [low <= it <= high for (low, high), it in zip(intervals, (score, difference), strict=True)]
    of_score, of_difference = covered.mean(0).tolist()
    return of_score, of_difference


def measure_rejections(design: Design, corpora: int) -> float:
    """Return how often the swap test finds a difference at 5 %: type-I error without a gain, else power."""
    p_values = [swap_p_value(*count_folds(simulate(design, number))) for number in range(corpora)]
    return float(np.mean(np.array(p_values) < SIGNIFICANCE_LEVEL))


def measure_wilcoxon(design: Design, corpora: int) -> float:
    """Return how often Wilcoxon's test over folds x seeds, which counts runs as independent, finds a difference."""
    found = 0
    for number in range(corpora):
        hits, clips = simulate(design, number)
        first, second = uar(hits, np.broadcast_to(clips, hits.shape))
        found += wilcoxon((first - second).ravel()).pvalue < SIGNIFICANCE_LEVEL
    return found / corpora


def measure_calibration_coverage(clusters: int, clips: int, sharpness: float, corpora: int) -> float:
    """Return how often the interval of the calibration error holds the truth.

    Logits are those of the true probabilities times `sharpness`, and in each cluster times a random factor with a
    logarithm of sd 0.2. The truth is the error of a million answers in as many bins.
    """
    rng = np.random.default_rng(0)
    bins = count_bins(clusters * clips)
    confidence, accuracy, _ = _answers(rng, 100_000, 10, sharpness)
    truth = np.mean([abs((accuracy - confidence)[it].mean()) for it in equal_bins(confidence, bins)])
    covered = 0
    for _ in range(corpora):
        confidence, accuracy, cluster = _answers(rng, clusters, clips, sharpness)
        correct = rng.random(len(accuracy)) < accuracy
        low, high = expected_error_interval(confidence, correct, bins, cluster)
        covered += low <= truth <= high
    return covered / corpora


def _answers(
    rng: np.random.Generator, clusters: int, clips: int, sharpness: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return confidence, chance to be right, and cluster of random answers, (n,) each."""
    logits = 1.5 * rng.standard_normal((clusters * clips, CLASSES))
    cluster = np.repeat(np.arange(clusters), clips)
    factor = sharpness * np.exp(0.2 * rng.standard_normal(clusters))[cluster]
    true, claimed = (softmax(it, axis=1) for it in (logits, factor[:, None] * logits))
    answer = logits.argmax(1)
    rows = np.arange(len(answer))
    return claimed[rows, answer], true[rows, answer], cluster


def main(corpora: int) -> None:
    """Print the tables, of so many simulated corpora in each line."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print("| folds | clips | coverage, UAR | coverage, difference |\n| --- | --- | --- | --- |")
    for title, design in COVERAGE.items():
        score, difference = measure_coverage(design, corpora)
        console.print(f"| {design.folds} | {title} | {score:.1%} | {difference:.1%} |")
    console.print(
        "\n| folds | seeds | type-I error | Wilcoxon, folds x seeds | power, 5 points | 10 points | least p |"
    )
    console.print("| --- | --- | --- | --- | --- | --- | --- |")
    for folds, speakers in ((5, 3), (6, 4), (10, 1), (24, 1), (91, 1)):
        for seeds in (1, 5, 20):
            design = Design(folds, speakers, seeds=seeds)
            error, wrong = measure_rejections(design, corpora), measure_wilcoxon(design, corpora)
            powers = [measure_rejections(replace(design, gain=gain), corpora) for gain in GAINS]
            cells = [*(f"{it:.1%}" for it in (error, wrong, *powers)), f"{minimum_p_value(folds):.1g}"]
            each = f"{speakers} speakers each" if speakers > 1 else "one speaker each"
            console.print(f"| {' | '.join((f'{folds}, {each}', str(seeds), *cells))} |")
    console.print("\n| clusters | clips of each | factor 1 | 1.2 | 1.5 | 3 |\n| --- | --- | --- | --- | --- | --- |")
    for clusters, clips in ((4, 120), (10, 21), (24, 60), (91, 80)):
        covered = [measure_calibration_coverage(clusters, clips, factor, corpora // 4) for factor in (1, 1.2, 1.5, 3)]
        console.print(f"| {clusters} | {clips} | {' | '.join(f'{it:.1%}' for it in covered)} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 2000)
