"""The library: every stage's science in the one module that bears its name."""
