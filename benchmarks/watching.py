"""Peak memory of a process and its children."""

import threading
import time
from types import TracebackType
from typing import Self

import psutil

SAMPLING_S = 0.3
MAX_INTERVAL_S = 5  # between two exact measurements
GROWTH = 1.02  # resident memory that exceeds its maximum by this factor is measured at once


class PeakMemory:
    """Measures a process and its children in a thread while a block runs; shared pages count once."""

    def __init__(self, pid: int) -> None:
        """Watch the process `pid`."""
        self.peak_gb = 0.0
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Start watching."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        maximum, measured_s = 0, 0.0
        while not self._stop.wait(SAMPLING_S):
            try:
                processes = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            # To find shared pages, the kernel scans all pages, which slows the measured processes down.
            resident = sum(_resident_bytes(process) for process in processes)
            if resident > GROWTH * maximum or time.monotonic() - measured_s > MAX_INTERVAL_S:
                maximum, measured_s = max(maximum, resident), time.monotonic()
                self.peak_gb = max(self.peak_gb, sum(_proportional_bytes(process) for process in processes) / 1e9)


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def _proportional_bytes(process: psutil.Process) -> int:
    """Return the process's memory; a page that n processes share counts one n-th, if the system reports it."""
    try:
        memory = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0
    return int(getattr(memory, "pss", memory.uss))
