"""What varies as a whole: right answers and clips, counted by cluster and class.

All test clips of one trained head vary together, and so do all clips of a speaker. Intervals and tests therefore
count clusters, never single clips. Seeds are averaged first: all of them see the same clips and speakers.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.predictions import Prediction

Cluster = Literal["fold", "speaker", "dialogue"]


def count_training_sets(predictions: Sequence[Prediction]) -> int:
    """Return the number of different training sets behind the predictions; without their names, that of folds."""
    return len({it.training_set or str(it.fold) for it in predictions})


def choose_cluster(predictions: Sequence[Prediction]) -> Cluster:
    """Return the cluster of a protocol from the predictions of all its folds.

    It is the speaker if each fold tests one speaker, or if there is one training set; in this case the dialogue if the
    corpus names dialogues. Otherwise it is the fold.
    """
    speakers: dict[int, set[str]] = defaultdict(set)
    for prediction in predictions:
        speakers[prediction.fold].add(prediction.speaker)
    if count_training_sets(predictions) == 1:
        return "dialogue" if all(it.dialogue for it in predictions) else "speaker"
    one_each = all(len(names) == 1 for names in speakers.values())
    return "speaker" if one_each and len(set.union(*speakers.values())) == len(speakers) else "fold"


@dataclass(frozen=True)
class ClusterCounts:
    """Right answers and clips by cluster and class, summed over seeds; the fold of each cluster."""

    hits: NDArray[np.int64]  # (clusters, classes)
    clips: NDArray[np.int64]  # (clusters, classes)
    folds: NDArray[np.int64]  # (clusters,)

    def __len__(self) -> int:
        return len(self.folds)

    @property
    def totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Right answers and clips of all clusters together, (classes,) each."""
        return self.hits.sum(0), self.clips.sum(0)

    @property
    def weights(self) -> NDArray[np.float64]:
        """The share of each cluster in the clips of a class, the mean over classes, (clusters,)."""
        clips = self.clips.sum(0)
        return np.asarray((self.clips[:, clips > 0] / clips[clips > 0]).mean(1))

    @property
    def leave_one_out(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Right answers and clips of all clusters but one, for each that is left out, (clusters, classes) each.

        A class that only that cluster has keeps its recall: without it, the score would be one of other classes.
        """
        hits, clips = self.totals
        is_only = (self.clips == clips) & (clips > 0)
        return np.where(is_only, hits, hits - self.hits), np.where(is_only, clips, clips - self.clips)


def cluster_numbers(predictions: Sequence[Prediction], cluster: Cluster) -> NDArray[np.int64]:
    """Return the number of each prediction's cluster, (n,); clusters are sorted by fold and name."""
    names = [(it.fold, "" if cluster == "fold" else str(getattr(it, cluster))) for it in predictions]
    position = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array([position[name] for name in names])


def count_answers(predictions: Sequence[Prediction], modality: str, cluster: Cluster) -> ClusterCounts:
    """Return the counts of one modality's answers, which all clips must have."""
    numbers = cluster_numbers(predictions, cluster)
    truth = np.array([it.truth for it in predictions])
    correct = [it.predicted_class(modality) == it.truth for it in predictions]
    hits, clips = (np.zeros((numbers.max() + 1, truth.max() + 1), np.int64) for _ in range(2))
    np.add.at(clips, (numbers, truth), 1)
    np.add.at(hits, (numbers, truth), correct)
    folds = np.zeros(len(clips), np.int64)
    folds[numbers] = [it.fold for it in predictions]
    return ClusterCounts(hits, clips, folds)


def uar(hits: NDArray[np.int64], clips: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean recall (...) over the classes that have a clip, from counts (..., classes)."""
    return np.asarray((hits / np.maximum(clips, 1)).sum(-1) / (clips > 0).sum(-1))


def war(hits: NDArray[np.int64], clips: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the accuracy (...) from counts (..., classes)."""
    return np.asarray(hits.sum(-1) / clips.sum(-1))
