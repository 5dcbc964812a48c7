"""The commands of `fdan`, a file each. Heavy imports stand inside functions, so that `--help` answers at once."""
