"""Temperatures: one number for each answer that makes its probabilities as confident as they are right.

Probabilities p become p^(1/T), normalised; which emotion is the most probable stays the same. Guo et al., On
Calibration of Modern Neural Networks, 2017.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

LOWEST, HIGHEST = 0.05, 20.0
SMALLEST = 1e-30  # a probability counts as at least this
Temperatures = dict[str, Annotated[float, Field(ge=LOWEST, le=HIGHEST)]]  # by answer
Answers = Mapping[str, Tensor]  # probabilities (n, C) by answer; NaN where a clip lacks the modality


def fit_temperatures(parts: Iterable[tuple[Answers, Tensor]]) -> Temperatures:
    """Return for each answer the temperature of the lowest NLL on validation parts: answers, and labels (n,).

    As much as one clip speaks for a temperature of 1: a few answers that are all right do not make a head certain. An
    answer that no clip has gets none.
    """
    answers, labels = zip(*parts, strict=True)
    truth = torch.cat(labels)
    together = {name: torch.cat([it[name] for it in answers]).double() for name in answers[0]}
    present = {name: ~values.isnan().any(1) for name, values in together.items()}
    return {
        name: _fit(values[present[name]], truth[present[name]])
        for name, values in together.items()
        if present[name].any()
    }


def _fit(probabilities: Tensor, labels: Tensor) -> float:
    from scipy.optimize import minimize_scalar  # slow to import

    logits = probabilities.clamp(min=SMALLEST).log()

    def penalised_nll(log_temperature: float) -> float:
        nll = float(torch.nn.functional.cross_entropy(logits / math.exp(log_temperature), labels))
        return nll + log_temperature**2 / len(labels)

    bounds = math.log(LOWEST), math.log(HIGHEST)
    found = minimize_scalar(penalised_nll, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return round(math.exp(found.x), 4)  # the last digits depend on the processor


def apply_temperatures(answers: Answers, temperatures: Mapping[str, float]) -> dict[str, Tensor]:
    """Return the probabilities (n, C) by answer at these temperatures; an answer without one stays as it is."""
    return {
        name: (values.double().clamp(min=SMALLEST).log() / temperatures[name]).softmax(-1).to(values.dtype)
        if name in temperatures
        else values
        for name, values in answers.items()
    }
