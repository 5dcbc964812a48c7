"""Examples of using the results in your own scripts; each runs as it is."""
