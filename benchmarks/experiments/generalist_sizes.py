"""Generalists of several sizes: the score in scenarios that are reserved, against the compute of pretraining.

`python -m benchmarks.experiments.generalist_sizes --out DIR`. Each preset is trained as `python -m agents.large_model
pretrain` does, in a folder of its own, and evaluated on the way in sampled scenarios of the family `validation`. A
score is the share of the lookahead oracle's gain over random play in the same sessions; a line names the scenarios in
which the oracle gains nothing, which have no scores. The same command resumes a training that was interrupted. Writes
references.json, sizes.jsonl with a row for each evaluation, and the picture sizes.png.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agents.large_model.config import PRESETS, PRETRAINING, TrainingConfig
from agents.terminal import console, not_negative, number_in, positive, warn
from benchmarks.analysis.scale import score, with_scale, without_scores
from benchmarks.experiments.script import make_parser, run_script

SIZES = ("micro", "tiny", "small")
_NUM_EVALUATIONS = 6


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("generalist_sizes", __doc__)
    parser.add_argument(
        "--preset", action="append", choices=PRESETS, help=f"repeat for several (default: {' '.join(SIZES)})"
    )
    parser.add_argument("--steps", type=positive, default=300_000, metavar="N", help="user-steps of each training")
    parser.add_argument(
        "--sessions", type=number_in(int, 2, 100_000), default=200, metavar="N", help="sessions of each evaluation"
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="of the trainings")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    import recsim_env
    from agents.large_model.__main__ import main as large_model
    from agents.tracking.metrics_log import read_metrics
    from benchmarks.report.figures.style import write_figure
    from benchmarks.rows import write_rows

    screen, rows = console(), []
    parsed.out.mkdir(parents=True, exist_ok=True)
    for preset in parsed.preset or SIZES:
        config = TrainingConfig(**{**PRETRAINING, "preset": preset, "num_steps": parsed.steps, "seed": parsed.seed})
        references = _references(parsed.out / "references.json", config, parsed.sessions, screen.print)
        scales = with_scale({name: (zero, one) for name, (zero, one) in references.items()})
        if note := without_scores(sorted(references.keys() - scales.keys()), "random play", "the lookahead oracle"):
            warn(note.strip())
        options = {
            "--preset": preset,
            "--steps": parsed.steps,
            "--seed": parsed.seed,
            "--evaluate-every": max(parsed.steps // _NUM_EVALUATIONS, 1),
            "--evaluation-sessions": parsed.sessions,
            "--threads": 1,
            "--out": parsed.out / preset,
        }
        arguments = [str(part) for option in options.items() for part in option]
        status = large_model(["pretrain", "--no-comparison", *arguments])
        if status != 0:
            raise ValueError(f"{parsed.out / preset}: the training failed")
        operations, num_parameters = _size(config)
        for metrics in read_metrics(parsed.out / preset / "metrics.jsonl"):
            if "evaluation" in metrics:
                scores = {
                    name: float(score(metrics[f"evaluation/{name}"], zero, one)) for name, (zero, one) in scales.items()
                }
                rows.append(
                    {
                        "preset": preset,
                        "num_parameters": num_parameters,
                        "num_steps": metrics["num_steps"],
                        "operations": operations * metrics["num_steps"],
                        "score": float(np.mean(list(scores.values()))),
                        "scores": scores,
                        "num_sessions": parsed.sessions,
                        "version": recsim_env.__version__,
                        **origin,
                    }
                )
        write_rows(parsed.out / "sizes.jsonl", rows)
    write_figure(parsed.out / "sizes", lambda: picture(rows))


def _references(file: Path, config: TrainingConfig, num_sessions: int, log: Any) -> dict[str, list[float]]:
    """Mean returns of random play and of the lookahead oracle in each scenario of the evaluations, kept in a file."""
    from agents.large_model.training_run import EVALUATION_SEED
    from agents.large_model.training_worlds import SampledWorlds
    from agents.references.lookahead import LookaheadOracle
    from agents.rollouts.evaluation import evaluate
    from agents.rules.random_agent import RandomAgent
    from recsim_env.atomic_file import write_atomically

    found = json.loads(file.read_bytes()) if file.is_file() else {}
    if found.get("num_sessions") != num_sessions:
        returns = {}
        for name, env in SampledWorlds(config, 1).held_out(num_sessions).items():
            log(f"{name}: random play and the lookahead oracle")
            full = env.remake(observation="full")
            oracle = LookaheadOracle(env.remake(split="train")).learn(0)
            oracle.set_env(env)
            agents = ((RandomAgent(full), full), (oracle, env))
            returns[name] = [float(evaluate(agent, world, EVALUATION_SEED).returns.mean()) for agent, world in agents]
        found = {"num_sessions": num_sessions, "returns": returns}
        write_atomically(file, (json.dumps(found, indent=1) + "\n").encode())
    return found["returns"]


def _size(config: TrainingConfig) -> tuple[float, int]:
    """Floating-point operations of training for a user-step of a typical sampled scenario, and parameters."""
    import torch

    from agents.large_model.model import LargeModelNetwork
    from agents.large_model.speed import forward_flops
    from agents.networks.schema import Schema
    from recsim_env.scenario_sampling import sample_scenario

    with torch.device("meta"):
        network = LargeModelNetwork(config.model(), Schema.generalist())
    sessions = [sample_scenario(seed).session for seed in range(100)]
    candidates, length = (
        round(np.mean([getattr(each, name) for each in sessions])) for name in ("num_candidates", "session_length")
    )
    epochs = sum(stage.num_epochs * steps for stage, steps in config.stages()) / config.num_steps
    return (3.0 * epochs + 1.0) * forward_flops(network, 1, 1, candidates, length), network.num_parameters


def picture(rows: list[dict[str, Any]]) -> Any:
    """A line for each size: the mean score over scenarios. Intervals are of differences between the points: the mean of
    each scenario over all points is subtracted first (Cousineau, "Confidence intervals in within-subject designs",
    Tutorials in Quantitative Methods for Psychology 1(1), 2005)."""
    from benchmarks.analysis.statistics import half_width
    from benchmarks.report.figures.style import panels

    figure, (axes,) = panels(1, 1, (6.5, 3.8))
    axes.set_xscale("log")
    usual = np.mean([list(row["scores"].values()) for row in rows], 0)  # of each scenario
    for preset in dict.fromkeys(row["preset"] for row in rows):
        own = [row for row in rows if row["preset"] == preset]
        scores = np.array([list(row["scores"].values()) for row in own])
        half = half_width((scores - usual).std(1, ddof=1), len(usual))
        label = f"{preset}: {own[0]['num_parameters']:,} parameters"
        axes.errorbar(
            [row["operations"] for row in own], scores.mean(1), half, marker="o", ms=3.0, elinewidth=0.8, label=label
        )
    for which in ("major", "minor"):
        getattr(axes.xaxis, f"set_{which}_formatter")(_power)
    axes.set_title(f"Generalists in {len(usual)} scenarios that they never saw")
    axes.set_xlabel("floating-point operations of pretraining")
    axes.set_ylabel("score (random 0, lookahead 1)")
    axes.legend(loc="lower right")
    return figure


def _power(value: float, _: object = None) -> str:
    """`2e12` for numbers with the first digit 1, 2 or 5, and nothing for others, which would overlap."""
    text = f"{value:.0e}".replace("e+", "e")
    return text if text[0] in "125" else ""


if __name__ == "__main__":
    sys.exit(main())
