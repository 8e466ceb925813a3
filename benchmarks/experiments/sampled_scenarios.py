"""Agents in sampled scenarios that are reserved: the pretrained model, which never saw them, and agents trained there.

`python -m benchmarks.experiments.sampled_scenarios --out DIR`. Each learner is trained for `--steps` user-steps in each
scenario, with users and items of the split `train`; all agents are then evaluated, frozen, with users and items of the
split `test`. A score is the share of the lookahead oracle's gain over random play in the same sessions. Writes
sampled.jsonl, a row for each run as soon as it is finished (the same command resumes), the table sampled.md and the
picture sampled.png.
"""

import argparse
import sys
from functools import partial
from typing import Any

import numpy as np

from agents.terminal import number_in, positive
from benchmarks.analysis.scale import score, with_scale, without_scores
from benchmarks.experiments.script import make_parser, measured_rows, run_script, write_results
from benchmarks.experiments.trained_agent import trained_agent
from benchmarks.suites import HELD_OUT

AGENTS = ("popularity", "platform-ranking", "eb-linucb", "large-model-pretrained")
MODEL, RIVAL = "large-model-pretrained", "eb-linucb"
_ZERO, _ONE = "random", "lookahead-oracle"
_NUM_DRAWS = 2_000


def main(arguments: list[str] | None = None) -> int:
    from recsim_env.scenario_sampling import NUM_RESERVED

    parser = make_parser("sampled_scenarios", __doc__)
    parser.add_argument("--family", choices=("validation", "test"), default="test", help="of sampled scenarios")
    parser.add_argument(
        "--scenarios", type=number_in(int, 1, NUM_RESERVED), default=NUM_RESERVED, metavar="N", help="the first N"
    )
    parser.add_argument("--steps", type=positive, default=50_000, metavar="N", help="user-steps of training")
    parser.add_argument(
        "--sessions", type=number_in(int, 2, 100_000), default=100, metavar="N", help="sessions of each evaluation"
    )
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    sizes = {"family": parsed.family, "num_steps": parsed.steps, "num_sessions": parsed.sessions}
    agents = (_ZERO, _ONE, *AGENTS)
    keys = [{"scenario": scenario, "agent": agent} for scenario in range(parsed.scenarios) for agent in agents]
    rows = measured_rows(parsed.out / "sampled.jsonl", keys, sizes, partial(_result, **sizes), origin)
    write_results(parsed.out / "sampled", table(rows), lambda: picture(rows))


def _result(scenario: int, agent: str, family: str, num_steps: int, num_sessions: int) -> dict[str, Any]:
    """Train the agent in a sampled scenario, and evaluate it."""
    from agents.rollouts.evaluation import evaluate
    from recsim_env.scenario_sampling import sample_scenario

    sampled = sample_scenario(scenario, family)
    model, env = trained_agent(agent, sampled, num_steps, num_sessions, structure_split=family)
    returns = evaluate(model, env, HELD_OUT.sessions_seed, 0).returns
    return {"return_mean": round(float(returns.mean()), 4)}


def scores_of(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """[scenarios] scores of each agent, in the scenarios of `_references` that have a scale.

    Raises:
        ResultsError: there is none.
    """
    found = {(row["scenario"], row["agent"]): row["return_mean"] for row in rows}
    scales = with_scale(_references(rows))
    zero, one = np.array(list(scales.values())).T
    return {name: score([found[scenario, name] for scenario in scales], zero, one) for name in AGENTS}


def _references(rows: list[dict[str, Any]]) -> dict[int, tuple[float, float]]:
    """Mean returns of random play and of the oracle, in the scenarios in which all agents have been evaluated."""
    found = {(row["scenario"], row["agent"]): row["return_mean"] for row in rows}
    everyone = (_ZERO, _ONE, *AGENTS)
    scenarios = [each for each in sorted({of for of, _ in found}) if all((each, name) in found for name in everyone)]
    return {scenario: (found[scenario, _ZERO], found[scenario, _ONE]) for scenario in scenarios}


def table(rows: list[dict[str, Any]]) -> str:
    """Interquartile mean score of each agent over scenarios with a bootstrap interval, and the share of scenarios in
    which it is above `RIVAL`, in Markdown."""
    from benchmarks.analysis.bootstrap import estimate
    from benchmarks.analysis.statistics import interquartile_mean

    generator = np.random.default_rng(0)
    scores = scores_of(rows)
    number = len(scores[RIVAL])
    drawn = generator.integers(number, size=(_NUM_DRAWS, number))
    lines = [
        f"| agent | score (interquartile mean of {number} scenarios) | median | above {RIVAL} in |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, values in scores.items():
        iqm = estimate(interquartile_mean({"": values}), interquartile_mean({"": values[drawn]}))
        share = "–" if name == RIVAL else f"{np.mean(values > scores[RIVAL]):.0%}"
        lines.append(f"| {name} | {iqm.text()} | {np.median(values):.2f} | {share} |")
    references = _references(rows)
    others = [f"scenario {scenario}" for scenario in references if scenario not in with_scale(references)]
    return "\n".join(lines) + "\n" + without_scores(others, _ZERO, _ONE)


def picture(rows: list[dict[str, Any]]) -> Any:
    """Scores of the model and its rivals in each scenario, in the order of the model's."""
    from benchmarks.report.figures.style import legend, panels

    scores = scores_of(rows)
    order = np.argsort(scores[MODEL])
    figure, (axes,) = panels(1, 1, (7.0, 3.2))
    styles: dict[str, dict[str, Any]] = {}
    for name, marker in ((MODEL, "o"), (RIVAL, "s"), ("platform-ranking", "^")):
        values = np.clip(scores[name][order], -0.5, 1.5)
        (points,) = axes.plot(np.arange(len(order)), values, ls="", marker=marker, ms=4)
        styles[name] = {"color": points.get_color(), "ls": "", "marker": marker}
    axes.set_title(f"{len(order)} reserved scenarios: the pretrained model, and EB-LinUCB trained in each")
    axes.set_xlabel("scenario, in the order of the pretrained model's score")
    axes.set_ylabel("score (random 0, lookahead 1)")
    legend(figure, styles)
    return figure


if __name__ == "__main__":
    sys.exit(main())
