"""What is to be processed: corpora, the manifest's contract, the sample corpus, evaluation splits."""
