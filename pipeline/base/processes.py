"""What our processes are told when they start: one thread each, and no search through what imports have made."""

import atexit
import gc

# More threads than one would fight over the cores, and would sum in another order and so to other bits.
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
ONE_THREAD |= {"OPENCV_FOR_THREADS_NUM": "1"}
NEW_OBJECTS = 10_000


def relax_garbage_collection() -> None:
    """Let Python look for garbage after so many new objects, not after 700, and no more when the process ends.

    The 400,000 objects that torch's modules make all stay: to go through them again and again takes a sixth of the
    time of their import, and a second at the end.
    """
    gc.set_threshold(NEW_OBJECTS)
    atexit.register(gc.freeze)
