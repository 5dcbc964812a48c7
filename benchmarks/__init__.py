"""The benchmarks of `make bench`: the whole build in seconds, other figures as ratios of two alternating runs."""
