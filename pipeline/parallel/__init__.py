"""Where work runs: this process, processes of this machine, a Dask cluster; on a CPU or a GPU."""

__all__ = ["devices", "pool", "progress"]
