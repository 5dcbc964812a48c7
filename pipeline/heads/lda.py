"""The baseline `lda`: linear discriminant analysis of mean tokens, with a shrunken covariance."""

import torch
from torch import Tensor

from pipeline.heads.baseline import LinearBaseline


class LdaHead(LinearBaseline):
    """Gaussian classes that share a covariance S, shrunken to (1 - a) S + a t I.

    t is the mean variance; a is chosen on speakers left out.
    """

    strengths = (0.99, 0.97, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.03, 0.01)  # a

    def solve(
        self, features: Tensor, labels: Tensor, strengths: tuple[float, ...], classes: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Return weight and bias for each a."""
        one_hot = torch.nn.functional.one_hot(labels, classes).double()
        counts = one_hot.sum(0)
        rows = features.double()
        means = one_hot.T @ rows / counts.clamp(min=1)[:, None]
        variances, directions = _principal_axes(rows - one_hot @ means)
        total = variances.sum() / rows.shape[1]
        inside = means @ directions  # the covariance is 0 outside the axes, and only its shrinkage acts there
        outside = means - inside @ directions.T
        solved = []
        for strength in strengths:
            floor = (strength * total).clamp(min=torch.finfo(torch.float64).tiny)
            weight = inside / ((1 - strength) * variances + floor) @ directions.T + outside / floor
            bias = (counts / counts.sum()).log() - (weight * means).sum(1) / 2
            solved.append((weight.float(), bias.float()))
        return solved


def _principal_axes(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Return the variances (r,) and the orthonormal directions (D, r) of rows (n, D); r is at most n or D."""
    count, width = centred.shape
    if width <= count:
        variances, directions = torch.linalg.eigh(centred.T @ centred / count)
        return variances.clamp(min=0), directions
    variances, axes = torch.linalg.eigh(centred @ centred.T / count)
    kept = variances > variances[-1] * 1e-10
    return variances[kept], centred.T @ axes[:, kept] / (count * variances[kept]).sqrt()
