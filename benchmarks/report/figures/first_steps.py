"""Reward by step of the session for users whom a model knows and for cold-start users.

Shape legend: T steps of a session.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.analysis.statistics import Z_95
from benchmarks.report.figures.style import band, panels

MIN_SESSIONS = 30
"""Means of fewer sessions are not drawn."""


def first_steps(rows: list[dict[str, Any]]) -> Figure:
    """Mean reward of each step with its 95% interval over the sessions that are still running, for each policy, from
    rows of `benchmarks.experiments.cold_start`."""
    figure, (axes,) = panels(1, 1, (6.5, 3.6))
    for policy in dict.fromkeys(row["policy"] for row in rows):
        own = [row for row in rows if row["policy"] == policy]
        mean, error = step_rewards(own)
        is_drawn = np.sum([row["num_running"] for row in own], 0) >= MIN_SESSIONS
        x, mean, half = 1 + np.flatnonzero(is_drawn), mean[is_drawn], Z_95 * error[is_drawn]
        band(axes, x, mean, half, label=policy)
    axes.set_title("Reward by step of the session")
    axes.set_xlabel("step of the session")
    axes.set_ylabel("reward (rating points)")
    axes.margins(x=0.0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure


def step_rewards(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """[T] mean reward of each step over the running sessions of all seeds, and its standard error."""
    sums, squares, number = (np.sum([row[name] for row in rows], 0) for name in ("rewards", "squares", "num_running"))
    mean = sums / np.maximum(number, 1)
    return mean, np.sqrt(np.maximum(squares / np.maximum(number, 1) - mean**2, 0.0) / np.maximum(number, 1))
