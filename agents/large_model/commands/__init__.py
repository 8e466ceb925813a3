"""One file for each command of `python -m agents.large_model`."""
