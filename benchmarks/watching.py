"""The peak memory of a process and its children."""

import threading
import time
from types import TracebackType
from typing import Self

import psutil

SAMPLING_S = 0.3
MEASURE_AGAIN_S = 5
GROWTH = 1.02  # resident memory that grows by this factor is measured before that


class PeakMemory:
    """Watches a process and its children in a thread during a block; shared pages count once."""

    def __init__(self, pid: int) -> None:
        """Watch the process `pid`."""
        self.peak_gb = 0.0
        self._process = psutil.Process(pid)
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._finished.set()
        self._thread.join()

    def _watch(self) -> None:
        most, measured_s = 0, 0.0
        while not self._finished.wait(SAMPLING_S):
            try:
                processes = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            # Counting shared pages is slow and delays the watched processes, so resident memory decides when to do it.
            resident = sum(_resident(process) for process in processes)
            if resident > GROWTH * most or time.monotonic() - measured_s > MEASURE_AGAIN_S:
                most, measured_s = max(most, resident), time.monotonic()
                self.peak_gb = max(self.peak_gb, sum(_shared_once(process) for process in processes) / 1e9)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def _shared_once(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0
    return int(getattr(memory, "pss", memory.uss))
