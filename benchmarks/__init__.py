"""What `make bench` measures: the whole build in seconds, everything else as a ratio of two things timed in turn."""
