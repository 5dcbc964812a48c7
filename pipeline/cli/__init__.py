"""The command `fdan`: its commands, `doctor`, `configure`."""
