"""One thread a process: more would fight over the cores, and would sum in another order and so to other bits."""

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
