"""`results/ablation.json`, as typed models: the command and the stage make them, the report reads them."""

from typing import Literal

from pydantic import Field

from pipeline.evaluation.clusters import Cluster
from pipeline.evaluation.result_file import Result, ResultFile
from pipeline.evaluation.schemas import SIGNIFICANCE_LEVEL, DataSummary, Interval


class AblationRow(Result):
    """One row of the ablation table: UAR of the fusion, and the difference to the first row."""

    name: str
    section: str  # what it changes, such as `faces` or `head + alignment`; rows of one section follow each other
    lost_clips: int  # test clips without any token in this row; their answers count as wrong
    lost_modality: int  # test clips answered from one modality, of which the first row has both
    runs: int
    uar: float  # of all test clips, seeds averaged
    uar_interval: Interval
    validation_uar: float  # mean over runs, on their validation parts
    mean: float  # UAR over runs
    sd: float | None  # null for a single run
    difference: float  # of `uar`
    interval_95: Interval  # of the difference
    p: float | None  # paired randomisation test that swaps clusters; null for the first row
    p_holm: float | None  # corrected for the number of comparisons

    def is_significant(self, level: float) -> bool:
        """Return whether the corrected p-value is below a level."""
        return self.p_holm is not None and self.p_holm < level


class Selection(Result):
    """The nested figure: in each fold the row that its validation part prefers, scored on the test part."""

    rows: list[str]  # by fold
    uar: float
    interval_95: Interval


class Ablation(DataSummary, ResultFile):
    """`results/ablation.json`: the rows of the ablation table, compared in pairs with the first."""

    stage = "ablate"
    schema_id: Literal["fdan.ablation/3"] = Field("fdan.ablation/3", alias="schema")
    protocol: str  # with a note where speakers are shared
    metric: Literal["uar"] = "uar"
    cluster: Cluster  # what varies as a whole: intervals and tests count it
    clusters: int
    training_sets: int  # number of folds
    seeds: int
    rows: list[AblationRow]
    selection: Selection
    minimum_p: float  # the smallest p that so many clusters can give
    minimum_p_holm: float  # the same, after correction for the number of rows

    @property
    def can_conclude(self) -> bool:
        """Whether any p can be significant; if not, only the intervals can be read."""
        return self.minimum_p_holm < SIGNIFICANCE_LEVEL
