"""Reward step by step with people whom a model knows, with those it does not, and of one that reads no history.

Shape legend: T steps of a session.
"""

import matplotlib
import numpy as np

from benchmarks.report.figures.palette import FAMILY_TONES
from benchmarks.report.figures.panel import STYLE, label_ends, margin_for, new_panel, svg_of
from benchmarks.running.rows import Row

LEAST_SESSIONS = 30
"""A mean of fewer sessions is not drawn."""
_TITLE = "Reward as a session goes on"
_COLOURS = {
    "known people": FAMILY_TONES["learner"][1].light,
    "new people": FAMILY_TONES["learner"][0].light,
    "without history": FAMILY_TONES["logged"][0].light,
    "profile player": FAMILY_TONES["rule"][0].light,
    "history-blind player": FAMILY_TONES["reference"][0].light,
}


def draw_first_steps(rows: list[Row]) -> str:
    """An SVG: for each policy the mean reward of a step with its 95% interval over the sessions that still run.

    Args:
        rows: as `benchmarks.experiments.cold_start` writes them.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = new_panel(
            _TITLE,
            "step of the session",
            "reward, stars",
            right=margin_for(_COLOURS),
            width=420.0,
            height=230.0,
        )
        ends, last = [], 1
        for policy, colour in _COLOURS.items():
            own = [row for row in rows if row["policy"] == policy]
            mean, error = step_rewards(own)
            kept = np.sum([row["num_running"] for row in own], 0) >= LEAST_SESSIONS
            x, mean, half = 1 + np.flatnonzero(kept), mean[kept], 1.96 * error[kept]
            axes.plot(x, mean, color=colour, lw=1.4)
            axes.fill_between(x, mean - half, mean + half, color=colour, alpha=0.14, lw=0)
            ends.append((float(x[-1]), float(mean[-1]), policy, colour))
            last = max(last, int(x[-1]))
        axes.set_xlim(1.0, last)
        label_ends(axes, ends)
        return svg_of(figure, _TITLE)


def step_rewards(rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
    """[T] mean reward of each step over the sessions of all seeds that still run then, and its standard error."""
    sums, squares, number = (np.sum([row[name] for row in rows], 0) for name in ("rewards", "squares", "num_running"))
    mean = sums / np.maximum(number, 1)
    return mean, np.sqrt(np.maximum(squares / np.maximum(number, 1) - mean**2, 0.0) / np.maximum(number, 1))
