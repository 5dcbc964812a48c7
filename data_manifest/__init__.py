"""What is to be processed: corpora, the manifest, splits, the sample corpus."""
