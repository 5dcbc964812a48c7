"""Tables of results: the rows that people read, and the few numbers that `dvc exp show` shows."""

from collections import Counter

from pipeline.base.selection import count_noun
from pipeline.evaluation.ablation_schemas import Ablation
from pipeline.evaluation.predictions import answer_label, protocol_label
from pipeline.evaluation.schemas import AnswerScores, Evaluation, HeadlineRow, Metrics, ProtocolMetrics, ProtocolScores


def headline(evaluation: Evaluation) -> list[HeadlineRow]:
    """Return one row for each protocol and answer."""
    return [
        HeadlineRow(
            protocol=protocol_label(protocol, speakers_shared=scores.speakers_shared),
            speakers_shared=scores.speakers_shared,
            modality=answer_label(name),
            war=answer.war,
            uar=answer.uar,
            macro_f1=answer.macro_f1,
            uar_mean=answer.uar_mean,
            uar_sd=answer.uar_sd,
            uar_interval=answer.interval_95.uar,
            cluster=scores.cluster,
            baseline_uar=scores.majority_baseline.uar,
        )
        for protocol, scores in evaluation.protocols.items()
        for name, answer in scores.shown.items()
    ]


def summarise(evaluation: Evaluation) -> Metrics:
    """Return the few numbers that fit into a line of `dvc exp show`, those of the first protocol first."""
    metrics: dict[str, ProtocolMetrics | int] = {}
    for name, scores in evaluation.protocols.items():
        fused = scores.answers["fused"]
        if metrics:
            metrics[name] = ProtocolMetrics(uar=fused.uar)
        else:
            low, high = fused.interval_95.uar
            baseline = scores.majority_baseline.uar
            metrics[name] = ProtocolMetrics(
                uar=fused.uar, uar_low=low, uar_high=high, baseline_uar=baseline, war=fused.war
            )
    return Metrics(metrics | {"clips": evaluation.clips, "left_out": len(evaluation.left_out)})


def describe_calibration(answer: AnswerScores) -> str:
    """Return the expected calibration error with its interval, and what it was before temperature."""
    now, before = answer.calibration, answer.uncalibrated
    low, high = now.expected_error_interval
    text = f"calibration error {now.expected_error:.1%} ({low:.1%} to {high:.1%})"
    return f"{text}, before temperature {before.expected_error:.1%}" if before else text


def count_clusters(result: Ablation | ProtocolScores) -> str:
    """Return how many clusters a result counts, as in "10 speakers"; with a note if one training set was seen."""
    counted = count_noun(result.clusters, result.cluster)
    return f"{counted} (one training set was seen)" if result.training_sets == 1 else counted


def describe_clusters(evaluation: Evaluation) -> str:
    """Return what the intervals of each protocol count."""
    labels = {
        protocol_label(name, speakers_shared=scores.speakers_shared): count_clusters(scores)
        for name, scores in evaluation.protocols.items()
    }
    return "; ".join(f"{counted} on {label}" for label, counted in labels.items())


def explain_test(ablation: Ablation) -> str:
    """Return in one or two sentences what the test of an ablation table can show."""
    least = f"With {count_noun(ablation.clusters, ablation.cluster)}, p is at least {ablation.minimum_p:.2g}"
    compared = count_noun(len(ablation.rows) - 1, "comparison")
    text = f"{least}, and at least {ablation.minimum_p_holm:.2g} after correction for {compared}."
    return text if ablation.can_conclude else f"{text} So only the intervals can be read."


def explain_selection(ablation: Ablation) -> str:
    """Return the nested figure in one sentence, next to the one that was picked by the test column."""
    selection, best = ablation.selection, max(ablation.rows, key=lambda row: row.uar)
    low, high = (100 * value for value in selection.interval_95)
    chosen = ", ".join(f"{row} {count}" for row, count in Counter(selection.rows).most_common())
    return (
        f"If in each fold its validation part chooses the row: UAR {100 * selection.uar:.1f} %, 95 % {low:.1f} to "
        f"{high:.1f} (chosen: {chosen}). The highest test UAR, {100 * best.uar:.1f} % of {best.name}, is a search on "
        "the test folds: do not report it as the result of a choice."
    )


LINEAR_ROWS = ("lda", "linear")  # linear classifiers of mean tokens, which a head has to beat


def explain_linear_rows(ablation: Ablation) -> list[str]:
    """Return a sentence for each linear row of an ablation table: whether the first row beats it."""
    first = ablation.rows[0]
    sentences = []
    for row in ablation.rows[1:]:
        if row.name in LINEAR_ROWS:
            is_clear = row.interval_95[1] < 0
            beats = "beats" if is_clear else "is not clearly better than" if row.difference < 0 else "does not beat"
            low, high = (-100 * value for value in reversed(row.interval_95))
            sentences.append(
                f"{first.name} {beats} {row.name}, a linear classifier of mean tokens: {100 * first.uar:.1f} % against "
                f"{100 * row.uar:.1f} %, 95 % interval of the difference {low:+.1f} to {high:+.1f} points."
            )
    return sentences
