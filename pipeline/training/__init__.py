"""Training of heads: recipe, losses, replicas, runs over folds and seeds, checkpoints, curves; the stage `train`."""

__all__ = [
    "answers",
    "checkpoints",
    "corpus",
    "curves",
    "data_summary",
    "ensembles",
    "figures",
    "head_file",
    "held_out",
    "leaks",
    "losses",
    "recipe",
    "replicas",
    "runs",
    "speakers",
    "temperature",
]
