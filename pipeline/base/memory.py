"""The memory that is available to this process, and files in memory."""

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Return the memory that this process can still take.

    It is the least of what the machine has left, what is left of the limits of the process's control groups (of a
    container or a batch job), and of its address space (`ulimit -v`).
    """
    used = psutil.Process().memory_info()
    available = [psutil.virtual_memory().available, *(limit - used.rss for limit in _cgroup_limits())]
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        available.append(address_space - used.vms)
    return max(0, min(available))


def _cgroup_limits(table: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> Iterator[int]:
    """Yield the limits of the control groups of this process, from its own group to the root's."""
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        # Version 2 has one tree, version 1 a tree for each controller.
        tree, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        folder = tree / group.strip("/")
        for ancestor in (folder, *folder.parents):
            with suppress(OSError, ValueError):  # a container shows parts of the tree; "max" is no limit
                yield int((ancestor / name).read_text(encoding="ascii"))
            if ancestor == tree:
                break


def return_memory() -> None:
    """Return freed memory to the system; glibc would keep it."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


@contextmanager
def file_in_memory(name: str) -> Iterator[Path | None]:
    """Yield the path of a file that other processes of this user can open until the block ends; None except on Linux.

    The kernel frees its memory then, also if this process is killed.
    """
    if not hasattr(os, "memfd_create"):
        yield None
        return
    file = os.memfd_create(name)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{file}")
    finally:
        os.close(file)
