"""Figures of a report: one kind a file, each a function of results that returns a Matplotlib figure."""
