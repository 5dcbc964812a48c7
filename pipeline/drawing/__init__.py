"""How figures are drawn and saved: colours, contact sheets, equal bytes for equal content."""

__all__ = ["figure", "sheet"]
