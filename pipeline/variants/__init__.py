"""Rows of the ablation table: what each changes, and embeddings made with other settings; the stage `variants`."""

__all__ = ["extraction", "index", "plan", "reference", "rows", "settings"]
