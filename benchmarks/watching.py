"""How much memory a process and its children hold together."""

import threading
import time
from types import TracebackType
from typing import Self

import psutil

SAMPLING_S = 0.3
LOOK_AGAIN_S = 5
GROWN = 1.02  # how much more than ever is worth a look before that


class PeakMemory:
    """Watches a process and its family in a thread, for the length of a block; shared pages count once."""

    def __init__(self, pid: int) -> None:
        """Watch the process `pid`."""
        self.peak_gb = 0.0
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        most, looked_s = 0, 0.0
        while not self._over.wait(SAMPLING_S):
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            # To learn which pages are shared, the kernel goes through all, at the cost of those who are watched.
            resident = sum(_resident(process) for process in family)
            if resident > GROWN * most or time.monotonic() - looked_s > LOOK_AGAIN_S:
                most, looked_s = max(most, resident), time.monotonic()
                self.peak_gb = max(self.peak_gb, sum(_shared_once(process) for process in family) / 1e9)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def _shared_once(process: psutil.Process) -> int:
    try:
        held = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0
    return int(getattr(held, "pss", held.uss))
