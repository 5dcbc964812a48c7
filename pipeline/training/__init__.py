"""Recipe, losses, replicas, runs over folds and seeds, checkpoints, curves; the stage `train`."""

__all__ = ["answers", "checkpoints", "corpus", "curves", "held_out", "losses", "recipe", "replicas", "runs"]
