"""Where work runs: in this process, in processes of this machine, or on a Dask cluster; on a CPU or a GPU."""

__all__ = ["calls", "devices", "pool", "progress"]
