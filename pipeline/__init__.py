"""The library: a room for each idea."""
