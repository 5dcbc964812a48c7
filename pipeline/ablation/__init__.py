"""The ablation table: its rows, their runs, their comparison; the stage `ablate`."""

__all__ = ["comparison", "figure", "table"]
