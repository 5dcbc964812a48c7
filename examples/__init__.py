"""What a user may write beside the pipeline; each of these runs as it is."""
