"""Training a single head."""

import torch

from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens
from pipeline.training.recipe import Recipe, Trained
from pipeline.training.replicas import Replica, train_together


def train(
    recipe: Recipe, training: Examples, validation: Examples | None, *, classes: int, seed: int, epochs: int = 0
) -> Trained:
    """Train a head; all clips must have the same number of tokens."""
    parts = [training] if validation is None else [training, validation]
    visual = Tokens(*(torch.cat(column) for column in zip(*(it.visual[:3] for it in parts), strict=True)))
    acoustic = Tokens(*(torch.cat(column) for column in zip(*(it.acoustic[:3] for it in parts), strict=True)))
    examples = Examples(visual, acoustic, torch.cat([it.labels for it in parts]))
    first, rest = torch.arange(len(examples)).split([len(training), len(examples) - len(training)])
    replica = Replica(recipe, first, None if validation is None else rest, seed)
    return train_together(examples, [replica], classes=classes, epochs=epochs)[0]
