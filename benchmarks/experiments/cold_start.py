"""The large model with cold-start users: reward by step of the session, and the value of the history.

`python -m benchmarks.experiments.cold_start --model FILE --out DIR`, `--model` once for each training seed. Writes
first_steps.jsonl, first_steps.json (the claims) and the figure first_steps; without `--model`, claims and figure are
written again from the rows in DIR. All policies play the same sessions of Video with held-out users and catalogues.
Intervals are t intervals over the training seeds: sessions of a seed share a trained model and a catalogue. Those of a
single seed are over its sessions, and say nothing of other trainings. Two questions are answered:

* What is the model worth without history? It acts at each step as if it were the first, by the profile alone. So does
  the observed Bayes filter beside it, which knows the user model and observes of items what an agent observes. The
  history-blind policy knows the items, and takes no profile into account.
* When has it caught up? Its reward with cold-start users at a step of the session, over its reward at that step with
  warm users, who bring a logged history.
"""

import argparse
import json
import sys
from typing import Any

import numpy as np

from agents.terminal import console, number_in, path, warn
from benchmarks.analysis.statistics import t_interval
from benchmarks.experiments.script import make_parser, run_script

_ENV_ID = "recsim_env/Video-v0"
_POPULATIONS = {"cold": {"population": {"warm_share": 0.0}}, "warm": {"population": {"warm_share": 1.0}}}
_NUM_FIRST, _CAUGHT_UP = 10, 0.9
RIVALS = ("observed Bayes filter without history", "history-blind policy")
"""The references that the model without history is compared with."""


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("cold_start", __doc__)
    parser.add_argument(
        "--model",
        type=path,
        action="append",
        default=[],
        metavar="PATH",
        help="file of `run --save-models`, or folder of a training; repeat: the k-th plays the k-th held-out catalogue",
    )
    parser.add_argument(
        "--sessions",
        type=number_in(int, 30, 1_000_000),
        default=500,
        metavar="N",
        help="sessions of each model and policy",
    )
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    from agents.large_model.checkpoint import load_network
    from benchmarks.report.figures.experiments import first_steps
    from benchmarks.report.figures.style import write_figure
    from benchmarks.rows import read_objects, write_rows
    from recsim_env.atomic_file import write_atomically

    screen, networks = console(), [load_network(each, "cpu", warn) for each in parsed.model]
    file = parsed.out / "first_steps.jsonl"
    if networks:
        parsed.out.mkdir(parents=True, exist_ok=True)
        rows: list[dict[str, Any]] = []
        for seed, network in enumerate(networks):
            for policy, evaluation in _evaluations(network, seed, parsed.sessions).items():
                rows.append({**_row(policy, seed, evaluation), **origin})
                screen.print(f"seed {seed}  {policy:<40}  return {np.mean(rows[-1]['returns']):6.1f}", highlight=False)
        write_rows(file, rows)
    elif file.is_file():
        rows = read_objects(file)
    else:
        raise ValueError(f"{file}: not found; give --model to measure")
    results = claims(rows)
    measured = {name: rows[-1][name] for name in origin if name in rows[-1]}
    content = json.dumps({**results, **measured}, indent=1) + "\n"
    write_atomically(parsed.out / "first_steps.json", content.encode())
    write_figure(parsed.out / "first_steps", lambda: first_steps(rows))
    for rival, (difference, low, high) in results["without_history_minus"].items():
        screen.print(f"without history: {difference:+.1f} ({low:+.1f} to {high:+.1f}) against {rival}", highlight=False)
    step = results["caught_up_at_step"]
    screen.print(f"{_CAUGHT_UP:.0%} of the reward with warm users from step {step} on", highlight=False)


def claims(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Summary of the rows.

    Returns:
        `without_history_minus`: paired difference of returns to each of `RIVALS`, and its 95% interval over seeds, or
            over the sessions of a single seed.
        `share_of_warm_reward_by_step`: reward with cold-start users over reward with warm users; None where that is 0.
        `caught_up_at_step`: the step (from 1) from which this share is at least 90% up to the tenth; None if it is less
        in the tenth.
    """
    from benchmarks.report.figures.experiments import step_rewards

    by_policy: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_policy.setdefault(row["policy"], []).append(row)
    differences = {
        rival: [round(each, 4) for each in t_interval(_differences(by_policy["without history"], by_policy[rival]))]
        for rival in RIVALS
    }
    cold, warm = (step_rewards(by_policy[policy])[0] for policy in ("cold-start users", "warm users"))
    length = min(len(cold), len(warm))
    share = np.full(length, np.nan)
    np.divide(cold[:length], warm[:length], out=share, where=warm[:length] > 0.0)
    behind = np.flatnonzero(share[:_NUM_FIRST] < _CAUGHT_UP)
    caught_up = int(behind[-1]) + 2 if len(behind) else 1
    return {
        "without_history_minus": differences,
        "share_of_warm_reward_by_step": [round(float(x), 4) if np.isfinite(x) else None for x in share],
        "caught_up_at_step": caught_up if caught_up <= _NUM_FIRST else None,
    }


def _differences(own: list[dict[str, Any]], others: list[dict[str, Any]]) -> np.ndarray:
    """[R] mean differences of the returns of each seed, or [N] of the sessions of a single seed."""
    others_of = {row["seed"]: row for row in others}
    by_session = [np.subtract(row["returns"], others_of[row["seed"]]["returns"]) for row in own]
    return np.array([each.mean() for each in by_session]) if len(by_session) > 1 else by_session[0]


def _row(policy: str, seed: int, evaluation: Any) -> dict[str, Any]:
    arrays = {
        "returns": evaluation.returns,
        "rewards": evaluation.rewards.sum(1),
        "squares": (evaluation.rewards**2).sum(1),
    }
    rounded = {name: [round(float(value), 4) for value in values] for name, values in arrays.items()}
    return {"policy": policy, "seed": seed, **rounded, "num_running": evaluation.is_running.sum(1).tolist()}


def _evaluations(network: Any, seed: int, num_sessions: int) -> dict[str, Any]:
    """The `Evaluation` of each policy."""
    from agents.large_model.agent import LargeModel
    from agents.large_model.env import make_env
    from agents.references.bayes_filter_observed import BayesFilterObserved
    from agents.references.lookahead import HistoryBlindPolicy
    from agents.rollouts.evaluation import evaluate
    from benchmarks.suites import HELD_OUT

    train = {"split": "train", "catalog_seed": HELD_OUT.training_catalog_seed + seed, "overrides": _POPULATIONS["cold"]}
    rivals: tuple[Any, ...] = (BayesFilterObserved(reads_history=False), HistoryBlindPolicy())
    for rival in rivals:
        rival.set_env(make_env(_ENV_ID, rival.num_envs, observation=rival.observation, **train))
        rival.set_random_seed(seed)
        rival.learn(0)
    model, blind = (LargeModel.from_network(network, reads_history=reads) for reads in (True, False))
    policies: dict[str, tuple[Any, str]] = {
        "cold-start users": (model, "cold"),
        "warm users": (model, "warm"),
        "without history": (blind, "cold"),
        **{name: (rival, "cold") for name, rival in zip(RIVALS, rivals, strict=True)},
    }
    held_out = {"split": HELD_OUT.split, "catalog_seed": HELD_OUT.catalog_seed + seed}
    evaluations = {}
    for policy, (agent, population) in policies.items():
        overrides = _POPULATIONS[population]
        env = make_env(_ENV_ID, num_sessions, observation=agent.observation, overrides=overrides, **held_out)
        evaluations[policy] = evaluate(agent, env, HELD_OUT.sessions_seed + HELD_OUT.sessions_apart * seed, seed)
        env.close()
    return evaluations


if __name__ == "__main__":
    sys.exit(main())
