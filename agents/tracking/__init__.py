"""Metrics of runs in a file of JSON lines, with optional copies in TensorBoard, Weights & Biases and MLflow."""

from agents.tracking.tracked_run import tracked_run
from agents.tracking.tracker import Tracker

__all__ = ["Tracker", "tracked_run"]
