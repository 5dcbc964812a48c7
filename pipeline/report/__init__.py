"""The report: one HTML page of all results, with interactive and static figures; the stage `report`."""

__all__ = ["extraction_summary", "figures", "page", "thumbnails"]
