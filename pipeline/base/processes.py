"""Settings of every process that we start: one thread for numerical libraries, less garbage collection."""

import atexit
import gc

# With more threads, workers compete for the cores, and sums change in their last bits with the order of addition.
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
ONE_THREAD |= {"OPENCV_FOR_THREADS_NUM": "1"}
COLLECTION_THRESHOLD = 10_000  # new objects; Python's default is 700


def relax_garbage_collection() -> None:
    """Let Python collect garbage less often, and not at all when the process ends.

    The 400,000 objects of torch's modules are never freed. Scanning them repeatedly takes a sixth of torch's import
    time, and one second at exit.
    """
    gc.set_threshold(COLLECTION_THRESHOLD)
    atexit.register(gc.freeze)
