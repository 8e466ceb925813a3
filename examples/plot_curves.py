"""Draw the learning curves that the examples wrote: `python examples/plot_curves.py CURVES.jsonl PICTURE.png`."""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from held_out import first_candidate, held_out_return, most_popular, random_policy
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def main(rows_path: str, picture_path: str) -> None:
    rows = [json.loads(line) for line in Path(rows_path).read_text(encoding="utf-8").splitlines()]
    runs: dict[str, dict[int, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        runs[row["name"]][row["seed"]].append((row["steps"], row["return"]))
    figure = Figure(figsize=(7.2, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot(xlabel="training steps", ylabel="ratings per held-out session")
    for name, of_seeds in sorted(runs.items()):
        # The n-th points of all seeds: with some libraries, their numbers of steps differ a little.
        steps, returns = np.array(list(zip(*map(sorted, of_seeds.values()), strict=False))).transpose(2, 0, 1)
        axis.plot(steps.mean(1), returns.mean(1), label=name)
        axis.fill_between(steps.mean(1), returns.min(1), returns.max(1), alpha=0.15)
    env_id, num_seeds = rows[0]["env"], len({row["seed"] for row in rows})
    axis.axhline(held_out_return(first_candidate, env_id), color="black", lw=0.8, ls="-.", label="first candidate")
    popularity = held_out_return(most_popular, env_id, observation="full")
    axis.axhline(popularity, color="black", lw=0.8, ls="--", label="popularity")
    axis.axhline(held_out_return(random_policy(env_id), env_id), color="black", lw=0.8, ls=":", label="random")
    axis.set_title(f"Held-out return in {env_id}: mean, lowest and highest of {num_seeds} seeds", fontsize=10)
    axis.legend(frameon=False, fontsize=8)
    axis.set_ylim(bottom=0.0)
    figure.savefig(picture_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
