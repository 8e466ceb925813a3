"""Draw two figures of the tutorial from the files that its commands have written to the working directory.

`python examples/tutorial_figures.py --out DIR` writes both_truths.png, and off_policy.png with its rows,
off_policy.jsonl. The third figure, retention.png, comes from `python -m benchmarks retention`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from matplotlib.figure import Figure

import agents
from agents.off_policy import estimates
from agents.rollouts.evaluation import evaluate
from benchmarks.analysis.statistics import Z_95, t_interval
from benchmarks.report.figures.style import CYCLE, panels, write_figure
from benchmarks.running.policy_log import policy_log
from recsim_env import FittedWorld, read_log, read_manifest, replay
from recsim_env.logs.fitting.selection import random_pairs
from recsim_env.logs.simulated.replay import env_arguments

_ESTIMATORS = ("SNIPS", "WPDIS", "DR", "FQE")
_NUM_TRUE_SESSIONS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the figures")
    parser.add_argument("--sessions", type=int, default=_NUM_TRUE_SESSIONS, help="of the true values (%(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write_figure(options.out / "both_truths", lambda: both_truths(rating_shares()))
    rows = [off_policy_row(Path(f"logs/{name}"), options.sessions) for name in ("first-step", "first-visit")]
    (options.out / "off_policy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_figure(options.out / "off_policy", lambda: off_policy(rows))


def rating_shares() -> dict[str, dict[str, Any]]:
    """Shares of each rating in the log and in the sample under random exposure, real and simulated; their numbers."""
    world, generator = FittedWorld.load("world.npz"), np.random.default_rng(0)
    log, sample = read_log("log/ratings.csv", "log/items.csv"), random_pairs(world, read_log("log/random.csv"))
    pairs = {
        "ratings that users chose to give": (log.users, log.items, log.ratings, True),
        "ratings of items shown at random": (sample.users, sample.items, sample.ratings, False),
    }
    found = {}
    for name, (users, items, ratings, is_chosen) in pairs.items():
        simulated = world.rate(users, items, generator, is_chosen=is_chosen)
        shares = {
            kind: [float((values == level).mean()) for level in world.rating_levels]
            for kind, values in (("log", ratings), ("fitted world", simulated))
        }
        found[name] = {**shares, "number": len(ratings)}
    return found


def both_truths(found: dict[str, dict[str, Any]]) -> Figure:
    """Histograms of ratings with 95% intervals, a panel for each kind of exposure."""
    figure, grid = panels(len(found), 2, (3.6, 2.8), sharey=True)
    for axes, (name, shares) in zip(grid, found.items(), strict=True):
        for number, kind in enumerate(("log", "fitted world")):
            values = np.array(shares[kind])
            half = Z_95 * np.sqrt(values * (1.0 - values) / shares["number"])
            places = np.arange(1, len(values) + 1) + 0.4 * (number - 0.5)
            axes.bar(places, values, 0.38, yerr=half, label=kind, color=CYCLE[number], error_kw={"elinewidth": 1.0})
        axes.set_title(f"{shares['number']:,} {name}", size=8.5)
        axes.set_xlabel("rating")
    grid[0].set_ylabel("share of ratings")
    grid[0].legend(loc="upper left")
    return figure


def off_policy_row(folder: Path, num_sessions: int) -> dict[str, Any]:
    """Estimates of the trained policy from a log of another one, its true value, and the value of that other one."""
    manifest = read_manifest(folder)
    arguments = env_arguments(manifest, "full")
    env = gymnasium.make_vec(manifest.env_id, num_sessions, **arguments)
    policy, scale = agents.load("reinforce.safetensors", env), env.unwrapped.simulator.config.reward_scale
    true = evaluate(policy, env, seed=1_000_000, deterministic=False).returns
    found = policy_log(replay(folder, observation="full"), policy)
    logged = found.log.session_sums(found.log.rewards) / scale
    values = estimates(found.log, found.features, found.policy_features)
    return {
        "log": folder.name,
        "num_sessions": len(logged),
        "behaviour policy": t_interval(logged),
        "truth": t_interval(true),
        **{
            name: [each / scale for each in (values[name].value, values[name].low, values[name].high)]
            for name in _ESTIMATORS
        },
        "effective_sample_size": {name: values[name].effective_sample_size for name in _ESTIMATORS},
    }


def off_policy(rows: list[dict[str, Any]]) -> Figure:
    """Estimates with their 95% intervals beside the true value, a panel for each log."""
    figure, grid = panels(len(rows), 2, (3.6, 2.6))
    for axes, row in zip(grid, rows, strict=True):
        names = ("behaviour policy", *_ESTIMATORS)
        middle, low, high = np.array([row[name] for name in names]).T
        axes.errorbar(middle, range(len(names)), xerr=[middle - low, high - middle], fmt="o", ms=4.0)
        axes.axvline(row["truth"][0], color=CYCLE[1], label="true value, with its 95% interval")
        axes.axvspan(*row["truth"][1:], color=CYCLE[1], alpha=0.2, lw=0)
        axes.set_yticks(range(len(names)), ["mean of the log", *_ESTIMATORS])
        axes.invert_yaxis()
        axes.set_title(row["log"].replace("-", " ").capitalize())
        axes.set_xlabel("return (rating points, 95% interval)")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center")
    return figure


if __name__ == "__main__":
    main()
