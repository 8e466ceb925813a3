"""How a trained large model does with people it knows nothing of: step by step, and with its history taken away.

`python -m benchmarks.experiments.cold_start --model FILE --out DIR`, `--model` once for each training seed. All policies play the
same sessions with held-out users and catalogues. Two questions are answered:

* What is the model worth without history? It is asked each step as if nothing had been shown yet, and has to judge by
  the profile. So does the profile player beside it: it knows how people behave and who has such a profile, and sees of
  items what an agent sees. The history-blind player knows every item, but takes no profile into account.
* When has it caught up? Its reward with new people at a step of the session, over its reward at that step with people
  who bring a logged history.

Shape legend: T steps, N sessions.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agents.agent import Agent
from agents.large_model.agent import LargeModel
from agents.large_model.checkpoint import load_network
from agents.large_model.worlds import make_env
from agents.references.bayes_filter_observed import BayesFilterObserved
from agents.references.lookahead import HistoryBlindPolicy
from agents.rollouts.evaluation import Evaluation, evaluate
from agents.terminal import console, positive, warn
from benchmarks.report.figures.first_steps import MIN_SESSIONS, first_steps, step_rewards
from benchmarks.report.figures.style import write_figure
from benchmarks.rows import Row, provenance, write_rows
from benchmarks.suites import HELD_OUT
from recsim_env.atomic_file import write_atomically
from recsim_env.config import check_number

_ENV_ID = "recsim_env/Video-v0"
_PEOPLE = {"new": {"population": {"warm_share": 0.0}}, "known": {"population": {"warm_share": 1.0}}}
_FIRST, _CAUGHT_UP = 10, 0.9
RIVALS = ("profile player", "history-blind player")
"""What the model without history is compared with."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.cold_start",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Play with trained models of Video, with new people, with people who bring a history, and without "
        "reading any history. Writes first_steps.jsonl, first_steps.json (what is claimed) and first_steps.png, .pdf, .svg.",
    )
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        required=True,
        metavar="PATH",
        help="what `run --keep` or `train --out` wrote; repeat, the k-th plays in the k-th held-out catalogue",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder; made if missing")
    parser.add_argument("--sessions", type=positive, default=500, metavar="N", help="for each model and policy")
    parsed = parser.parse_args(arguments)
    on, origin = console(), provenance(arguments, "benchmarks.experiments.cold_start")
    try:
        check_number("--sessions", parsed.sessions, MIN_SESSIONS, 1_000_000, int)
        models = [load_network(path, "cpu", warn) for path in parsed.model]
        parsed.out.mkdir(parents=True, exist_ok=True)
        rows: list[Row] = []
        for seed, model in enumerate(models):
            for policy, found in _played(model, seed, parsed.sessions).items():
                rows.append(_row(policy, seed, found))
                on.print(f"seed {seed}  {policy:<22}  return {np.mean(rows[-1]['returns']):6.1f}", highlight=False)
        found_out = claims(rows)
        write_rows(parsed.out / "first_steps.jsonl", [{**row, **origin} for row in rows])
        write_atomically(
            parsed.out / "first_steps.json", (json.dumps({**found_out, **origin}, indent=1) + "\n").encode()
        )
        write_figure(parsed.out / "first_steps", lambda: first_steps(rows))
        for rival, (difference, low, high) in found_out["without_history_minus"].items():
            on.print(
                f"without history: {difference:+.1f} ({low:+.1f} to {high:+.1f}) against the {rival}", highlight=False
            )
        step = found_out["caught_up_at_step"]
        on.print(f"{_CAUGHT_UP:.0%} of the reward with known people from step {step} on", highlight=False)
    except (ValueError, OSError) as error:
        print(f"first_steps: {error}", file=sys.stderr)
        return 2
    return 0


def claims(rows: list[Row]) -> dict[str, Any]:
    """What the rows say: the difference of returns without history to each player that reads none, paired, with its 95%
    interval over sessions; the share of the reward with known people that is reached with new ones, by step, None where
    they give nothing; the step (from 1) from which on that is 90% in all of the first ten, None if it is less in the
    tenth."""
    by_policy = {policy: [row for row in rows if row["policy"] == policy] for policy in {row["policy"] for row in rows}}
    returns = {policy: np.concatenate([row["returns"] for row in of]) for policy, of in by_policy.items()}
    differences = {}
    for rival in RIVALS:
        difference = returns["without history"] - returns[rival]
        half = 1.96 * difference.std(ddof=1) / len(difference) ** 0.5
        mean = difference.mean()
        differences[rival] = [round(float(each), 4) for each in (mean, mean - half, mean + half)]
    new, known = (step_rewards(by_policy[policy])[0] for policy in ("new people", "known people"))
    length = min(len(new), len(known))
    share = np.full(length, np.nan)
    np.divide(new[:length], known[:length], out=share, where=known[:length] > 0.0)
    behind = np.flatnonzero(share[:_FIRST] < _CAUGHT_UP)
    caught_up = int(behind[-1]) + 2 if len(behind) else 1
    shares = [round(float(each), 4) if np.isfinite(each) else None for each in share]
    return {
        "without_history_minus": differences,
        "share_of_reward_with_known_people_by_step": shares,
        "caught_up_at_step": caught_up if caught_up <= _FIRST else None,
    }


def _row(policy: str, seed: int, found: Evaluation) -> Row:
    return {
        "policy": policy,
        "seed": seed,
        "returns": [round(float(each), 4) for each in found.returns],
        "rewards": [round(float(each), 4) for each in found.rewards.sum(1)],
        "squares": [round(float(each), 4) for each in (found.rewards**2).sum(1)],
        "num_running": found.is_running.sum(1).tolist(),
    }


def _played(model: Any, seed: int, num_sessions: int) -> dict[str, Evaluation]:
    """Sessions of each policy."""
    reads, blind = (LargeModel.from_network(model, reads_history=reads) for reads in (True, False))
    rivals = dict(zip(RIVALS, (BayesFilterObserved(reads_history=False), HistoryBlindPolicy()), strict=True))
    train = {"split": "train", "catalog_seed": HELD_OUT.training_catalog_seed + seed, "overrides": _PEOPLE["new"]}
    for player in rivals.values():
        player.set_env(make_env(_ENV_ID, player.num_envs, observation=player.observation, **train))
        player.set_random_seed(seed)
        player.learn(0)
    policies: dict[str, tuple[Agent, str]] = {
        "new people": (reads, "new"),
        "known people": (reads, "known"),
        "without history": (blind, "new"),
        **{name: (player, "new") for name, player in rivals.items()},
    }
    found = {}
    for policy, (agent, people) in policies.items():
        where = {"split": HELD_OUT.split, "catalog_seed": HELD_OUT.catalog_seed + seed}
        env = make_env(_ENV_ID, num_sessions, observation=agent.observation, overrides=_PEOPLE[people], **where)
        found[policy] = evaluate(agent, env, HELD_OUT.sessions_seed + HELD_OUT.sessions_apart * seed, seed)
        env.close()
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
