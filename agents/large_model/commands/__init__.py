"""Commands of the large model; PyTorch is imported when a command runs, not for its help."""
