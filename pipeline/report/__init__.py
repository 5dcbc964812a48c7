"""The report: one page with its parts, thumbnails and templates; the stage `report`."""

__all__ = ["extraction_summary", "figures", "page", "thumbnails"]
