"""Paired comparison of ablation rows that were trained on the same folds and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.ablation.table import RowScores
from pipeline.evaluation.ablation_schemas import Ablation, AblationRow, Selection
from pipeline.evaluation.clusters import uar
from pipeline.evaluation.intervals import difference_interval, score_interval
from pipeline.evaluation.predictions import protocol_label
from pipeline.evaluation.randomisation import holm, minimum_p_value, swap_p_value
from pipeline.evaluation.schemas import DataSummary
from pipeline.evaluation.scores import standard_deviation
from pipeline.training.held_out import training_set
from pipeline.training.runs import FoldRun
from pipeline.variants.rows import REFERENCE


def compare(rows: Mapping[str, RowScores]) -> list[AblationRow]:
    """Return for each row its UAR, its difference to the reference, intervals, and a paired test.

    Every row has the same runs in the same order, so the same clips. Holm's correction is for the number of rows that
    are compared with the reference.
    """
    reference = rows[REFERENCE].counts
    p_values = [None if name == REFERENCE else swap_p_value(row.counts, reference) for name, row in rows.items()]
    return [
        AblationRow(
            name=name,
            section=row.section,
            lost_clips=row.losses.clips,
            lost_modality=row.losses.modality,
            runs=len(row.runs),
            uar=float(uar(*row.counts.totals)),
            uar_interval=score_interval(row.counts, uar),
            validation_uar=row.validation_uar,
            mean=float(np.mean(row.runs)),
            sd=standard_deviation(row.runs),
            difference=float(uar(*row.counts.totals) - uar(*reference.totals)),
            interval_95=difference_interval(row.counts, reference, uar),
            p=p,
            p_holm=corrected,
        )
        for (name, row), p, corrected in zip(rows.items(), p_values, holm(p_values), strict=True)
    ]


def select_rows(rows: Mapping[str, RowScores]) -> Selection:
    """Choose for each fold the row with the best UAR on its validation part, and score it on the test part.

    Of equal rows, the first is chosen. No test answer plays a part in the choice, so the figure is an honest one.
    """
    first = next(iter(rows.values())).counts
    folds = sorted({*first.folds.tolist()})
    chosen = {fold: max(rows, key=lambda name: rows[name].fold_validation_uar(fold)) for fold in folds}
    hits = [rows[chosen[fold]].counts.hits[number] for number, fold in enumerate(first.folds.tolist())]
    counts = replace(first, hits=np.stack(hits))
    return Selection(
        rows=list(chosen.values()), uar=float(uar(*counts.totals)), interval_95=score_interval(counts, uar)
    )


def summarise_table(data: DataSummary, runs: Sequence[FoldRun], rows: Mapping[str, RowScores]) -> Ablation:
    """Return the content of `results/ablation.json` for a table whose rows have these runs."""
    split, first = runs[0].split, next(iter(rows.values()))
    smallest = minimum_p_value(len(first.counts))
    return Ablation(
        **dict(data),
        protocol=protocol_label(split.protocol, speakers_shared=split.speakers_shared),
        cluster=first.cluster,
        clusters=len(first.counts),
        training_sets=len({training_set(run.split) for run in runs}),
        seeds=len({run.seed for run in runs}),
        rows=compare(rows),
        selection=select_rows(rows),
        minimum_p=smallest,
        minimum_p_holm=min(1.0, smallest * max(1, len(rows) - 1)),
    )
