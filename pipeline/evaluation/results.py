"""Honest figures: by clip, with interval, baseline, every fold, and what was left out."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluation.predictions import ANSWERS, protocol_label


def headline(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row for each protocol and modality: what a table shows."""
    return [
        {
            "protocol": protocol_label(protocol, speakers_shared=figures["speakers_shared"]),
            "modality": modality.replace("_", " "),
        }
        | {name: figures[modality][name] for name in ("war", "uar", "macro_f1", "uar_mean", "uar_sd")}
        | {
            "uar_interval": figures[modality]["interval_95"]["uar"],
            "baseline_uar": figures["majority_baseline"]["uar"],
        }
        for protocol, figures in metrics["protocols"].items()
        for modality in ANSWERS
        if modality in figures
    ]


def summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few numbers that fit into a line of `dvc exp show`; those of the first protocol come first."""
    few: dict[str, Any] = {}
    for place, (name, figures) in enumerate(metrics["protocols"].items()):
        fused = figures["fused"]
        low, high = fused["interval_95"]["uar"]
        few[name] = {"uar": fused["uar"]}
        if place == 0:
            interval = {"uar_low": low, "uar_high": high}
            few[name] |= interval | {"baseline_uar": figures["majority_baseline"]["uar"], "war": fused["war"]}
    return few | {"clips": metrics["clips"], "left_out": len(metrics["left_out"])}
