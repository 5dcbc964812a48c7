"""Does it help? Every row of a table trained on the same folds and seeds, compared in pairs."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from pipeline.errors import ParameterError
from pipeline.evaluation import MODALITIES, Prediction, named, scores
from pipeline.experiments import Run
from pipeline.files import write_text
from pipeline.params import check
from pipeline.registry import suggestion
from pipeline.training import Recipe

Overrides = Mapping[str, Mapping[str, Any]]
REFERENCE = "full"


def override(recipe: Recipe, overrides: Overrides, *, row: str) -> Recipe:
    """Return the recipe with some keys of its sections changed; an unknown one is an error that lists the valid."""
    sections = {name: getattr(recipe, name) for name in ("head", "alignment", "train")}
    for section, changes in overrides.items():
        if section not in sections:
            raise ParameterError(f"ablations.{row}: unknown section {section!r}; {suggestion(section, sections)}")
        values = sections[section].model_dump() | dict(changes)
        sections[section] = check(values, type(sections[section]), where=f"ablations.{row}.{section}")
    return Recipe(**sections)


def cross(grid: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rows of a grid, as in head.width=128,256: every combination, named by what it changes."""
    axes = []
    for text in grid:
        match = re.fullmatch(r"(\w+)\.(\w+)=(.+)", text)
        if not match:
            raise ParameterError(f"--grid {text}: write it as section.key=value,value, as in head.width=128,256")
        section, key, values = match.groups()
        axes.append([(section, key, value.strip()) for value in values.split(",")])
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for chosen in product(*axes):
        overrides: dict[str, dict[str, Any]] = {}
        for section, key, value in chosen:
            overrides.setdefault(section, {})[key] = value
        rows[", ".join(f"{section}.{key}={value}" for section, key, value in chosen)] = overrides
    return rows


def write_runs(
    path: Path, tested: Iterable[tuple[str, Run, list[Prediction]]], classes: Sequence[str]
) -> dict[str, list[float]]:
    """Write one line for each row, run and modality; return the rows' UAR of the fusion, run by run."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["row", "protocol", "fold", "seed", "modality", "clips", "war", "uar"])
    fused: dict[str, list[float]] = {}
    for row, run, predictions in tested:
        for modality in MODALITIES:
            known = [it for it in predictions if it.probabilities[modality] is not None]
            if known:
                figures = scores([it.truth for it in known], [it.choice(modality) for it in known], classes)
                protocol = named(run.split.protocol, speakers_shared=run.split.speakers_shared)
                line = [row, protocol, run.split.fold, run.seed, modality, len(known)]
                table.writerow([*line, f"{figures['war']:.6f}", f"{figures['uar']:.6f}"])
                if modality == "fused":
                    fused.setdefault(row, []).append(figures["uar"])
    write_text(path, text.getvalue())
    return fused


def compare(results: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Return for each row its mean, spread and difference to the reference, with a paired test.

    `results` maps rows to one figure a run, the runs in the same order. The test is Wilcoxon's signed-rank test,
    two-sided, corrected by Holm for the number of rows compared.
    """
    reference = np.asarray(results[REFERENCE])
    rows: list[dict[str, Any]] = []
    for name, values in results.items():
        difference = np.asarray(values) - reference
        rows.append(
            {
                "row": name,
                "runs": len(values),
                "mean": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                "difference": float(difference.mean()),
                "p": None if name == REFERENCE else _paired(difference),
            }
        )
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = corrected
    return rows


def _paired(difference: np.ndarray) -> float:
    """Return the p-value; 1 where no run differs at all, for which the test is not defined."""
    return float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's corrected p-values; None stays None and does not count."""
    order = sorted((value, index) for index, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, index) in enumerate(order):
        highest = max(highest, min(1.0, value * (len(order) - rank)))
        corrected[index] = highest
    return corrected
