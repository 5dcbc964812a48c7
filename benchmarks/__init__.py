"""The benchmarks of `make bench`: times of the whole build in seconds, and ratios of two calls timed in turn."""
