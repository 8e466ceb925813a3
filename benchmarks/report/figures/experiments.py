"""Figures of the experiments: reward by step of the session, a change of population, return against compute, and the
errors of off-policy estimators.

Shape legend: R training seeds, T steps of a session.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from agents.off_policy.estimate import Z_95
from benchmarks.analysis.sigmoid_fit import sigmoid
from benchmarks.analysis.statistics import half_width
from benchmarks.report.figures.style import CYCLE, OTHERS, band, panels
from benchmarks.rows import Row

_OFF_POLICY_DASHES: dict[str, Any] = {
    **dict.fromkeys(("IPS", "SNIPS", "clipped IPS"), "-"),
    **dict.fromkeys(("IS", "WIS", "PDIS", "WPDIS"), (0, (4, 1.5))),
}

_DODGE = 1.025
"""Factor between the places of two estimators, so that their intervals stand side by side."""

MIN_SESSIONS = 30
"""Steps at which a seed has fewer running sessions are not drawn."""


def first_steps(rows: list[dict[str, Any]]) -> Figure:
    """Mean reward of each step in the sessions that are still running with its 95% interval (`step_rewards`), for each
    policy, from rows of `benchmarks.experiments.cold_start`."""
    figure, (axes,) = panels(1, 1, (6.5, 3.6))
    for policy in dict.fromkeys(row["policy"] for row in rows):
        own = [row for row in rows if row["policy"] == policy]
        mean, half = step_rewards(own)
        is_drawn = np.min([row["num_running"] for row in own], 0) >= MIN_SESSIONS
        band(axes, 1 + np.flatnonzero(is_drawn), mean[is_drawn], half[is_drawn], label=policy)
    axes.set_title("Reward by step of the session")
    axes.set_xlabel("step of the session")
    axes.set_ylabel("reward (rating points)")
    axes.margins(x=0.0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure


def step_rewards(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """[T] mean reward of each step over the running sessions of all seeds, and half the width of its 95% interval.

    Sessions of a seed share a trained model and a catalogue, so it is a t interval over seeds: with the linearised
    ratio estimator, as seeds differ in their numbers of running sessions (Cochran, "Sampling techniques", 3rd edition,
    1977, section 2.11). The interval of a single seed is over its sessions.
    """
    sums, squares, number = (np.array([row[name] for row in rows]) for name in ("rewards", "squares", "num_running"))
    running = np.maximum(number.sum(0), 1)
    mean = sums.sum(0) / running
    if len(rows) > 1:
        residuals = (sums - mean * number) * len(rows) / running  # [R, T]
        return mean, half_width(residuals.std(0, ddof=1), len(rows))
    variance = np.maximum(squares[0] / running - mean**2, 0.0) * running / np.maximum(running - 1, 1)
    return mean, half_width(np.sqrt(variance), running)


def population_shift(rows: list[dict[str, Any]], rounds: list[dict[str, Any]]) -> Figure:
    """Mean return of evaluation sessions with its 95% interval, for each policy and population, and the publications.

    Rows have `policy`, `population`, `live_steps`, `return_mean` and `return_sem`; rounds have `live_steps` and
    `decision`.
    """
    figure, (axes,) = panels(1, 1, (6.5, 3.6))
    populations = list(dict.fromkeys(row["population"] for row in rows))
    for policy, colour in (("published", "C0"), ("learning", "C2"), ("frozen", "C1")):
        label: str | None = policy
        for population in populations:
            own = [row for row in rows if (row["policy"], row["population"]) == (policy, population)]
            own.sort(key=lambda row: row["live_steps"])
            x, y, error = (np.array([row[key] for row in own]) for key in ("live_steps", "return_mean", "return_sem"))
            band(axes, x / 1e3, y, Z_95 * error, color=colour, marker="o", ms=3.0, label=label)
            label = None
    for population in populations[1:]:
        start = min(row["live_steps"] for row in rows if row["population"] == population)
        axes.axvline(start / 1e3, color=OTHERS, ls="--", label="population changes")
    published = [each["live_steps"] / 1e3 for each in rounds if each["decision"] == "publish"]
    if published:
        axes.plot(published, [axes.get_ylim()[0]] * len(published), "^", color="C0", clip_on=False, label="publication")
    axes.set_title("Online learning beside a server, while the population changes")
    axes.set_xlabel("live user-steps (thousands)")
    axes.set_ylabel("return (rating points)")
    axes.margins(x=0.01)
    axes.legend()
    return figure


def scaling(rows: list[Row], forecast: dict[str, Any]) -> Figure:
    """Every evaluation with its 95% interval over sessions, a line for each size, and the curve of `forecast`.

    Rows have `operations`, `return_mean` and `return_sem`; `sigmoid_fit.forecast` makes the other argument.
    """
    points = [row for row in rows if row["status"] == "ok" and row["env_steps"] > 0]
    figure, (axes,) = panels(1, 1, (6.5, 3.6))
    axes.set_xscale("log")
    for agent in dict.fromkeys(row["agent"] for row in points):
        own = sorted((row for row in points if row["agent"] == agent), key=lambda row: row["operations"])
        x, y, error = (np.array([row[key] for row in own]) for key in ("operations", "return_mean", "return_sem"))
        label = agent.removeprefix("large-model-") + (" (held out)" if agent == forecast["held_out"] else "")
        axes.errorbar(x, y, Z_95 * error, marker="o", ms=3.0, elinewidth=0.8, label=label)
    operations = np.array([row["operations"] for row in points])
    x = np.geomspace(operations.min(), operations.max(), 200)
    axes.plot(x, sigmoid(x, **forecast["curve"]), color=OTHERS, ls="--", zorder=1.5, label="fitted sigmoid")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e+", "e"))
    axes.set_title("Return against compute")
    axes.set_xlabel("floating-point operations of training")
    axes.set_ylabel("return (rating points)")
    axes.legend()
    return figure


def off_policy_errors(summaries: list[dict[str, Any]]) -> Figure:
    """Root mean square error of each off-policy estimator against the rows of the log, with 95% intervals where the
    summaries of `benchmarks.experiments.off_policy` have them, a panel for each horizon; the grey line is the spread of
    the policies' true values.

    Estimators that weigh whole sessions are dashed, those with a model dotted.
    """
    horizons = sorted({each["horizon"] for each in summaries})
    figure, grid = panels(len(horizons), 3, (4.0, 3.6))
    for axes, horizon in zip(grid, horizons, strict=True):
        own = [each for each in summaries if each["horizon"] == horizon]
        for number, estimator in enumerate(dict.fromkeys(each["estimator"] for each in own)):
            points = sorted(
                (each["size"], each["rmse"], each["rmse_low"], each["rmse_high"])
                for each in own
                if each["estimator"] == estimator
            )
            x, y, low, high = np.array(points).T
            x *= _DODGE**number
            colour, dashes = CYCLE[number % len(CYCLE)], _OFF_POLICY_DASHES.get(estimator, (0, (1, 1)))
            axes.plot(x, y, marker="o", ms=3.0, color=colour, ls=dashes, label=estimator)
            axes.errorbar(x, y, [y - low, high - y], fmt="none", ecolor=colour, elinewidth=0.8)
        axes.axhline(own[0]["spread"], color=OTHERS, label="spread of the policies")
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
            axis.set_minor_formatter(NullFormatter())
        axes.set_xticks(sorted({each["size"] for each in own}))
        axes.set_title(f"Sessions of {horizon} step{'s' if horizon > 1 else ''}")
        axes.set_xlabel("rows of the log")
    grid[0].set_ylabel("RMSE (rating points)")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return figure
