"""Metrics of runs: a file of JSON lines, and copies of it in TensorBoard, Weights & Biases and MLflow."""

from agents.tracking.tracked_run import tracked_run
from agents.tracking.tracker import Tracker

__all__ = ["Tracker", "tracked_run"]
