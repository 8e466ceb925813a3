"""Frozen agents in held-out structures, beside the structures that they were trained in.

`python -m benchmarks.experiments.held_out_structures --out DIR`. A structure is one draw of taste clusters, profiles,
moods and creators. Each agent is trained in one structure and evaluated, frozen, with held-out users and items of the
same structure and of another one. Its score is its share of the lookahead oracle's gain over random play in the same
sessions. Writes structures.jsonl, a row for each run as soon as it is finished (the same command resumes), and the
table structures.md.
"""

import argparse
import sys
from functools import partial
from typing import Any

import numpy as np

from agents.terminal import number_in, positive
from benchmarks.analysis.scale import score, with_scale, without_scores
from benchmarks.analysis.statistics import interval_text, t_interval
from benchmarks.experiments.script import make_parser, measured_rows, run_script, write_results
from benchmarks.experiments.trained_agent import trained_agent
from benchmarks.suites import HELD_OUT, PRESETS

AGENTS = ("popularity", "eb-linucb", "ppo")
STRUCTURES = {"training": "train", "held-out": "test"}
"""`structure_split` of the evaluation."""
_ZERO, _ONE = "random", "lookahead-oracle"


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("held_out_structures", __doc__)
    parser.add_argument(
        "--scenario", choices=PRESETS, action="append", help="only this synthetic scenario; repeat for several"
    )
    parser.add_argument("--steps", type=positive, default=50_000, metavar="N", help="user-steps of training")
    parser.add_argument(
        "--seeds", type=positive, default=5, metavar="N", help="structures, and trainings of each agent"
    )
    parser.add_argument(
        "--sessions", type=number_in(int, 2, 100_000), default=200, metavar="N", help="sessions of each evaluation"
    )
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    sizes = {"num_steps": parsed.steps, "num_sessions": parsed.sessions}
    keys = [
        {"scenario": scenario, "agent": agent, "seed": seed}
        for seed in range(parsed.seeds)
        for scenario in parsed.scenario or PRESETS
        for agent in (_ZERO, _ONE, *AGENTS)
    ]
    rows = measured_rows(parsed.out / "structures.jsonl", keys, sizes, partial(_returns, **sizes), origin)
    write_results(parsed.out / "structures", table(rows))


def _returns(scenario: str, agent: str, seed: int, num_steps: int, num_sessions: int) -> dict[str, Any]:
    """Train the agent, and evaluate it in both structures."""
    from agents.rollouts.evaluation import evaluate

    structure: dict[str, Any] = {"world_seed": seed, "structure_split": "train"}
    model, env = trained_agent(agent, scenario, num_steps, num_sessions, seed=seed, **structure)
    first_seed = HELD_OUT.sessions_seed + HELD_OUT.sessions_apart * seed
    returns = {
        name: evaluate(model, env.remake(structure_split=split), first_seed, seed).returns
        for name, split in STRUCTURES.items()
    }
    means = {name: round(float(values.mean()), 4) for name, values in returns.items()}
    return {"return_mean": means}


def table(rows: list[dict[str, Any]]) -> str:
    """Mean score of each agent in both structures and their difference, with t intervals over the seeds that have a
    scale in both, in Markdown."""
    lines = [
        "| scenario | agent | training structures | held-out structures | difference | seeds |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    returns = {
        (row["scenario"], row["agent"], row["seed"]): np.array([row["return_mean"][name] for name in STRUCTURES])
        for row in rows
    }
    references = {
        (scenario, seed): (returns[scenario, _ZERO, seed], returns[scenario, _ONE, seed])
        for scenario, agent, seed in returns
        if agent in AGENTS
    }
    scales = with_scale(references)
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        for agent in AGENTS:
            seeds = sorted(seed for of, seed in scales if of == scenario and (scenario, agent, seed) in returns)
            if not seeds:
                continue
            scores = [score(returns[scenario, agent, seed], *scales[scenario, seed]) for seed in seeds]
            training, held_out = np.array(scores).T
            cells = [_interval(values) for values in (training, held_out, held_out - training)]
            lines.append(f"| {scenario} | {agent} | {' | '.join(cells)} | {len(seeds)} |")
    others = [f"{scenario}, seed {seed}" for scenario, seed in sorted(references) if (scenario, seed) not in scales]
    return "\n".join(lines) + "\n" + without_scores(others, _ZERO, _ONE)


def _interval(values: np.ndarray) -> str:
    """Mean with its 95% t interval; of one value without."""
    return interval_text(t_interval(values), ".2f") if len(values) > 1 else f"{np.mean(values):.2f}"


if __name__ == "__main__":
    sys.exit(main())
