"""Return over live steps of a policy that goes on learning and of a frozen one, when the people change half-way."""

import matplotlib
import numpy as np

from benchmarks.report.figures.palette import FAINT, FAMILY_TONES
from benchmarks.report.figures.panel import STYLE, TEXT, label_ends, margin_for, new_panel, svg_of
from benchmarks.running.rows import Row

POLICIES = {"learning": "goes on learning", "frozen": "frozen"}
_TITLE = "Other people come half-way"


def draw_population_shift(rows: list[Row], shift_at: int) -> str:
    """An SVG: mean return of evaluation sessions with its 95% interval, for each policy, and where the people change.

    Args:
        rows: with `policy`, `people`, `live_steps`, `return_mean`, `return_sem`.
        shift_at: live steps before the change.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = new_panel(
            _TITLE,
            "live user-steps, thousands",
            "return of a session, stars",
            right=margin_for(POLICIES.values()),
            width=420.0,
            height=230.0,
        )
        ends = []
        for policy, words in POLICIES.items():
            own = sorted((row for row in rows if row["policy"] == policy), key=lambda row: row["live_steps"])
            x, y, error = (np.array([row[key] for row in own]) for key in ("live_steps", "return_mean", "return_sem"))
            x, half = x / 1e3, 1.96 * error
            colour = FAMILY_TONES["learner"][0].light if policy == "learning" else FAMILY_TONES["reference"][0].light
            people = np.array([row["people"] for row in own])
            for part in (people == each for each in dict.fromkeys(people)):
                axes.plot(x[part], y[part], color=colour, lw=1.4, marker="o", ms=2.5)
                axes.fill_between(x[part], (y - half)[part], (y + half)[part], color=colour, alpha=0.14, lw=0)
            ends.append((float(x[-1]), float(y[-1]), words, colour))
        axes.axvline(shift_at / 1e3, color=FAINT.light, lw=0.9, ls=(0, (4, 2)))
        axes.text(shift_at / 1e3, axes.get_ylim()[1], "  other people", size=TEXT - 0.5, color=FAINT.light, va="top")
        axes.set_xlim(0.0, max(row["live_steps"] for row in rows) / 1e3)
        label_ends(axes, ends)
        return svg_of(figure, _TITLE)
