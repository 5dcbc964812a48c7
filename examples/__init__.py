"""Examples: embeddings in scripts of your own, and a part of each kind, which `fdan new` copies into `plugins/`."""
