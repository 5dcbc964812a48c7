"""Training a single head."""

from collections.abc import Sequence

import torch

from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens, TokenSource
from pipeline.training.recipe import Recipe
from pipeline.training.replicas import Replica, TrainedReplica, train_together


def join(parts: Sequence[TokenSource]) -> Tokens:
    """Return the clips of several parts, without augmented copies."""
    return Tokens(
        *(torch.cat(column) for column in zip(*((it.values, it.times, it.mask) for it in parts), strict=True))
    )


def train(
    recipe: Recipe, training: Examples, validation: Examples | None, *, classes: int, seed: int
) -> TrainedReplica:
    """Train a head; all clips must have the same number of tokens."""
    parts = [training] if validation is None else [training, validation]
    visual, acoustic = join([it.visual for it in parts]), join([it.acoustic for it in parts])
    examples = Examples(visual, acoustic, torch.cat([it.labels for it in parts]))
    first, rest = torch.arange(len(examples)).split([len(training), len(examples) - len(training)])
    replica = Replica(recipe, first, None if validation is None else rest, seed)
    return train_together(examples, [replica], classes=classes)[0]
