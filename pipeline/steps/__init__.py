"""The steps of extraction, each as one call that writes a file: for the stages, and for prediction on new clips."""
