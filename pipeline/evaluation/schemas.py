"""The JSON files of results, as typed models: one stage writes them, the report and `fdan info` read them."""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, RootModel, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.base.files import write_text
from pipeline.evaluation.clusters import Cluster
from pipeline.evaluation.predictions import ANSWERS, MODALITIES
from pipeline.evaluation.result_file import Result, ResultFile

Interval = tuple[float, float]  # the lower and the upper bound
Point = tuple[float, float]  # x and y
SIGNIFICANCE_LEVEL = 0.05
COUNTS = ("clips", "left_out")  # the keys of `metrics.json` that are no protocols


class LeftOutClip(Result):
    """A clip that no result covers, with the stage that left it out and the reason."""

    clip_id: str
    path: str
    stage: str
    reason: str


class Int8Fidelity(Result):
    """How close a backbone in int8 comes to fp32, on held-out tokens."""

    tokens: int  # that were compared
    share: float  # of the tokens, with a cosine that is high enough and a length that is close enough
    lowest: float  # cosine of all tokens
    norm_error: float  # the largest relative error of a token's length


class WinogradLayers(Result):
    """The convolutions of a backbone that were computed by Winograd's method."""

    layers: int
    direct: list[str]  # the names of the others that it suits, whose error would be too large


class BackboneWeights(Result):
    """The weights that made embeddings."""

    name: str
    sha256: str  # of every number in the backbone as it ran
    int8: Int8Fidelity | None = None
    winograd: WinogradLayers | None = None


class EmbeddingsOrigin(Result):
    """What made the embeddings of one modality."""

    weights: BackboneWeights
    config: dict[str, Any]  # the section `embed_faces` or `embed_mels`
    upstream: dict[str, Any]  # `config`, `fingerprint` and `version` of the file of faces or spectrograms
    fingerprint: str


class DataSummary(Result):
    """The data behind a result: how much there is, what was left out, whose weights."""

    warning: str | None = None  # if a backbone has random weights
    notes: list[str]  # what could let a test part be known from training, one line each
    clips: int
    left_out: list[LeftOutClip]
    lost_modalities: dict[str, dict[str, str]]  # modality: clip id: reason
    classes: list[str]  # the emotions, in the order of all matrices
    weights: dict[str, str]  # modality: name of the backbone's weights
    embeddings: dict[str, EmbeddingsOrigin]  # by modality


class Scores(Result):
    """Scores of answers against the truth. Classes without a test clip count neither in UAR nor in macro-F1."""

    war: float
    uar: float
    macro_f1: float
    weighted_f1: float
    recall: dict[str, float]  # by emotion
    confusion: list[list[int]]  # counts; truth in rows, prediction in columns


class RunScores(Result):
    """WAR and UAR of one fold and seed."""

    fold: int
    seed: int
    war: float
    uar: float


class ScoreIntervals(Result):
    """95 % intervals of WAR and UAR, by the jackknife over clusters."""

    war: Interval
    uar: Interval


class ReliabilityBin(Result):
    """The answers of one bin of confidence; all bins have the same number of answers, but for one."""

    clips: int
    confidence: float  # mean over the clips
    accuracy: float


class Calibration(Result):
    """How good the probabilities are; lower is better."""

    nll: float  # mean of -log of the true class's probability, in nats
    brier: float  # mean squared distance to the one-hot truth, 0 to 2
    expected_error: float  # mean distance between confidence and accuracy, over the bins
    expected_error_interval: Interval  # 95 %, by the jackknife over clusters
    reliability: list[ReliabilityBin]


class AnswerScores(Scores):
    """Scores of one answer, pooled over all runs of a protocol, and how they spread."""

    war_mean: float  # over runs
    war_sd: float | None  # null for a single run
    uar_mean: float
    uar_sd: float | None
    interval_95: ScoreIntervals
    runs: list[RunScores]
    calibration: Calibration
    uncalibrated: Calibration | None  # before the temperature; null if there is none


class MajorityBaseline(Result):
    """Scores of a classifier that always answers the most frequent emotion of its training part."""

    war: float
    uar: float
    emotions: list[str]  # the answers, one or several over the folds


class ProtocolScores(Result):
    """Scores of one protocol. An answer that no clip has is left out of the file."""

    speakers_shared: bool  # between training and test
    clips: int
    cluster: Cluster  # what varies as a whole, and so what intervals count
    clusters: int
    training_sets: int  # number of folds
    visual: AnswerScores | None = None
    acoustic: AnswerScores | None = None
    fused: AnswerScores | None = None
    video_only: AnswerScores | None = None
    audio_only: AnswerScores | None = None
    majority_baseline: MajorityBaseline

    @property
    def answers(self) -> dict[str, AnswerScores]:
        """The scores by answer."""
        scores = {name: getattr(self, name) for name in ANSWERS}
        return {name: it for name, it in scores.items() if it is not None}

    @property
    def shown(self) -> dict[str, AnswerScores]:
        """The scores by answer, without repetitions: where one modality answers alone, its answer is the only one."""
        if {"video_only", "audio_only"} <= self.answers.keys():
            return self.answers
        first = next(name for name in MODALITIES if name in self.answers)
        return {first: self.answers[first]}

    @model_serializer(mode="wrap")
    def _without_missing_answers(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialise(self).items() if value is not None}


class Evaluation(DataSummary, ResultFile):
    """`results/evaluation.json`: the scores of every protocol on its test parts."""

    stage = "evaluate"
    schema_id: Literal["fdan.evaluation/2"] = Field("fdan.evaluation/2", alias="schema")
    code_version: str  # of the evaluation
    protocols: dict[str, ProtocolScores]


class ProtocolMetrics(Result):
    """The numbers of a protocol that fit into a line of `dvc exp show`: all for the first, else UAR alone."""

    uar: float
    uar_low: float | None = None
    uar_high: float | None = None
    baseline_uar: float | None = None
    war: float | None = None


class Metrics(RootModel[dict[str, ProtocolMetrics | int]]):
    """`results/metrics.json`: the scores of the fusion by protocol, and the counts `clips` and `left_out`.

    DVC reads the file and shows every key, so it has no `schema`.
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _check_layout(self) -> Self:
        for name in {*self.root, *COUNTS}:
            if (name in COUNTS) != isinstance(self.root.get(name), int):
                raise ValueError(f"{name}: {' and '.join(COUNTS)} are counts, all other keys are protocols")
        return self

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_text(path, json.dumps(self.model_dump(mode="json", exclude_unset=True), indent=2) + "\n")


class HeadlineRow(Result):
    """One row of the table of results: a protocol and an answer."""

    protocol: str  # with a note where speakers are shared
    speakers_shared: bool  # between training and test
    modality: str
    war: float
    uar: float
    macro_f1: float
    uar_mean: float  # over runs
    uar_sd: float | None
    uar_interval: Interval
    cluster: Cluster  # what the interval counts
    baseline_uar: float


class ClipAnswer(Result):
    """The fused answer for one clip."""

    clip_id: str
    truth: str
    predicted: str
    probability: float  # of the predicted emotion


class ModalityPoints(Result):
    """The points of one clip in a projection; null for a missing modality."""

    visual: Point | None
    acoustic: Point | None


class ProjectedClip(ClipAnswer):
    """A test clip in the t-SNE of both modalities."""

    before: ModalityPoints  # alignment
    after: ModalityPoints

    def point(self, when: str, modality: str) -> Point | None:
        """Return the point of one modality `before` or `after` alignment."""
        points = self.before if when == "before" else self.after
        return points.visual if modality == "visual" else points.acoustic


class Mistake(ClipAnswer):
    """A wrong answer."""

    truth_probability: float
    fold: int
    seed: int


class ClipAttention(ClipAnswer):
    """The cross-attention of one clip: matrices (frames, windows), the mean over the heads of the last block."""

    frames_s: list[float]  # times of the rows
    windows_s: list[float]  # times of the columns
    frames_to_windows: list[list[float]]  # rows sum to 1 at most; the rest is the sink's
    windows_to_frames: list[list[float]]  # columns sum to 1 at most

    def matrix(self, direction: str) -> list[list[float]]:
        """Return the matrix `frames_to_windows` or `windows_to_frames`."""
        return self.frames_to_windows if direction == "frames_to_windows" else self.windows_to_frames


class Exploration(ResultFile):
    """`results/explore.json`: one run's test part in detail, and the most confident mistakes of its protocol."""

    stage = "evaluate"
    schema_id: Literal["fdan.explore/1"] = Field("fdan.explore/1", alias="schema")
    protocol: str  # with a note where speakers are shared
    fold: int
    seed: int
    test_clips: int  # of the run; `clips` may be a selection of them
    clips: list[ProjectedClip]
    mistakes: list[Mistake]
    attention: list[ClipAttention]

    @property
    def modalities(self) -> list[str]:
        """The modalities that any of the clips has; at least one."""
        points = {name: [it.point("before", name) for it in self.clips] for name in ("visual", "acoustic")}
        return [name for name, values in points.items() if any(it is not None for it in values)] or ["acoustic"]
