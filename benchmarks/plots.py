"""Learning curves, drawn from result rows alone."""

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.leaderboard import half_interval
from benchmarks.results import Row
from recsim_env.atomic_file import write_atomically

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#5c5c5c")
_REFERENCE_STYLES = {"random": ":", "popularity": "--", "linucb": "-.", "myopic-oracle": (0, (5, 1))}


def draw_learning_curves(directory: Path, rows: list[Row]) -> Path:
    """Write `learning_curves.png`: return against user-steps for each scenario, with 95% intervals over seeds."""
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    agents = list(dict.fromkeys(row["agent"] for row in sorted(rows, key=lambda row: -row["env_steps"])))
    learners = [agent for agent in agents if any(row["env_steps"] > 0 for row in rows if row["agent"] == agent)]
    references = [agent for agent in dict.fromkeys(row["agent"] for row in rows) if agent not in learners]
    colours = {agent: _COLOURS[n % len(_COLOURS)] for n, agent in enumerate(sorted(learners))}

    figure, axes = plt.subplots(
        1, len(scenarios), figsize=(6.2 * len(scenarios) + 2.2, 4.8), squeeze=False, layout="constrained"
    )
    for axis, scenario in zip(axes[0], scenarios, strict=True):
        here = [row for row in rows if row["scenario"] == scenario]
        _draw_scenario(axis, scenario, here, sorted(learners), references, colours)
    handles = [Line2D([], [], color=colours[agent], marker="o", ms=3, label=agent) for agent in sorted(learners)]
    figure.legend(handles=handles, loc="outside right center", title="learns", frameon=False)
    num_seeds = len({row["seed"] for row in rows})
    figure.suptitle(
        f"Learning to recommend (suite “{rows[0]['suite']}”)\n"
        f"held-out users and catalogues, mean of {num_seeds} training seeds, 95% intervals"
    )
    image = io.BytesIO()
    figure.savefig(image, dpi=130, format="png")
    plt.close(figure)
    path = directory / "learning_curves.png"
    write_atomically(path, image.getvalue())
    return path


def _draw_scenario(
    axis: Axes, scenario: str, rows: list[Row], learners: list[str], references: list[str], colours: dict[str, str]
) -> None:
    for agent in learners:
        by_steps: dict[int, list[Row]] = {}
        for row in rows:
            if row["agent"] == agent:
                by_steps.setdefault(row["env_steps"], []).append(row)
        steps = np.array(sorted(by_steps))
        if len(steps) == 0:
            continue
        mean = np.array([np.mean([row["return_mean"] for row in by_steps[step]]) for step in steps])
        half = np.array([half_interval(by_steps[step], "return") for step in steps])
        axis.plot(steps, mean, color=colours[agent], marker="o", ms=3, lw=1.6)
        axis.fill_between(steps, mean - half, mean + half, color=colours[agent], alpha=0.15, lw=0)
    levels: list[tuple[float, str]] = []
    for agent in references:
        group = [row for row in rows if row["agent"] == agent]
        if not group:
            continue
        mean_value, half_width = np.mean([row["return_mean"] for row in group]), half_interval(group, "return")
        axis.axhline(mean_value, color="black", ls=_REFERENCE_STYLES.get(agent, "--"), lw=1.1)
        axis.axhspan(mean_value - half_width, mean_value + half_width, color="black", alpha=0.08, lw=0)
        levels.append((float(mean_value), agent))
    right = axis.get_yaxis_transform()  # x in parts of the axis, y in data
    highest = max((value for value, _ in levels), default=0.0)
    levels.sort()
    for place, (value, agent) in enumerate(levels):
        is_crowded = place + 1 < len(levels) and levels[place + 1][0] - value < 0.04 * highest
        axis.text(0.995, value, agent, transform=right, ha="right", va="top" if is_crowded else "bottom", fontsize=8)
    axis.set_title(scenario)
    axis.set_xlabel("user-steps of training")
    axis.set_ylabel("return of a session (sum of ratings, stars)")
    axis.set_ylim(bottom=0.0)
    axis.set_xlim(right=1.2 * max(1, *(row["env_steps"] for row in rows)))  # room for the names of the references
    axis.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
