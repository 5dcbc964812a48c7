"""The commands of `fdan`, one per file. Heavy imports are inside functions, so that `--help` answers at once."""
