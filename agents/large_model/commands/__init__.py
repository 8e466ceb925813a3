"""Commands of the large model, one module each; PyTorch is imported when a command runs, not for its help."""
