"""The ablation table: rows, runs, paired comparison, figure; the stage `ablate`."""

__all__ = ["comparison", "figure", "table"]
