"""Commands on models that protect people; PyTorch is imported when a command runs, not for its help."""
