"""Drawing: colours, contact sheets, and figures saved with equal bytes for equal content."""

__all__ = ["figure", "sheet"]
