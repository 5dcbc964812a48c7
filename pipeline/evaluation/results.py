"""Tables of results: the rows that people read, and the few numbers that `dvc exp show` shows."""

from pipeline.evaluation.predictions import answer_label, protocol_label
from pipeline.evaluation.schemas import Evaluation, HeadlineRow, Metrics, ProtocolMetrics


def headline(evaluation: Evaluation) -> list[HeadlineRow]:
    """Return one row for each protocol and answer."""
    return [
        HeadlineRow(
            protocol=protocol_label(protocol, speakers_shared=scores.speakers_shared),
            modality=answer_label(name),
            war=answer.war,
            uar=answer.uar,
            macro_f1=answer.macro_f1,
            uar_mean=answer.uar_mean,
            uar_sd=answer.uar_sd,
            uar_interval=answer.interval_95.uar,
            baseline_uar=scores.majority_baseline.uar,
        )
        for protocol, scores in evaluation.protocols.items()
        for name, answer in scores.answers.items()
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
