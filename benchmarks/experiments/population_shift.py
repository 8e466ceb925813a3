"""Lets a trained model go on learning from live sessions while the people change half-way, beside a frozen copy.

`python -m benchmarks.experiments.population_shift --model FILE --out DIR`. The first half is played in Video. In the second,
tastes, what a profile says of them, and the catalogue are drawn anew by the same rules: what had been learnt about
Video's people no longer holds. Both policies are evaluated in the same sessions, by arg-max, of users that live
sessions never see.
"""

import argparse
import copy
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from agents.large_model.agent import LargeModel
from agents.large_model.checkpoint import load_network
from agents.large_model.model import LargeModelNetwork
from agents.large_model.online import OnlineConfig, OnlineLearner
from agents.large_model.rollout import play
from agents.rollouts.evaluation import evaluate
from agents.terminal import console, not_negative, positive, warn
from benchmarks.report.figures.population_shift import population_shift as population_shift_figure
from benchmarks.report.figures.style import write_figure
from benchmarks.rows import Row, provenance, write_rows
from recsim_env.atomic_file import write_atomically
from recsim_env.config import Scenario, check_number
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.scenarios import VIDEO

PEOPLE = {"home": VIDEO, "other": dataclasses.replace(VIDEO, name="Elsewhere")}
"""Everything that is drawn of a scenario is keyed by its name."""

_CATALOG_SEED, _LIVE_SEED, _EVALUATION_SEED = 1_000_003, 5_000_011, 2_000_003


class _Stage:
    """One half: where live sessions are played, and where policies are evaluated."""

    def __init__(self, scenario: Scenario, num_live: int, num_evaluated: int) -> None:
        self.live = self._env(scenario, num_live, "train")
        self.evaluated = self._env(scenario, num_evaluated, "test")

    @staticmethod
    def _env(scenario: Scenario, num_envs: int, user_split: str) -> RecommenderVectorEnv:
        return RecommenderVectorEnv(
            num_envs,
            scenario,
            observation="compact",
            split="test",
            user_split=user_split,
            catalog_seed=_CATALOG_SEED,
        )

    def row(self, model: LargeModelNetwork) -> Row:
        agent = LargeModel.from_network(model)
        found = evaluate(agent, self.evaluated, _EVALUATION_SEED).returns
        return {
            "return_mean": float(found.mean()),
            "return_sem": float(found.std(ddof=1) / len(found) ** 0.5),
            "num_sessions": len(found),
        }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.population_shift",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Let a trained model of Video serve live sessions and go on learning from them, beside a frozen "
        "copy; half-way other people come. Writes population_shift.jsonl and population_shift.png, .pdf, .svg.",
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="PATH", help="what `run --keep` or `train --out` wrote"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder; made if missing")
    parser.add_argument("--rounds", type=positive, default=24, metavar="N", help="of live sessions, in each half")
    parser.add_argument("--sessions", type=positive, default=96, metavar="N", help="live ones, in each round")
    parser.add_argument("--evaluate-every", type=positive, default=4, metavar="N", help="rounds")
    parser.add_argument("--evaluation-sessions", type=positive, default=400, metavar="N", help="of each evaluation")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="of live sessions and draws")
    parsed = parser.parse_args(arguments)
    on, origin = console(), provenance(arguments, "benchmarks.experiments.population_shift")
    try:
        check_number("--evaluation-sessions", parsed.evaluation_sessions, 2, 1_000_000, int)
        model = load_network(parsed.model, "cpu", warn)
        parsed.out.mkdir(parents=True, exist_ok=True)
        rows, shift_at = _served(model, parsed, on.print)
        write_rows(parsed.out / "population_shift.jsonl", [{**row, **origin} for row in rows])
        write_figure(parsed.out / "population_shift", lambda: population_shift_figure(rows, shift_at))
    except (ValueError, OSError) as error:
        print(f"population_shift: {error}", file=sys.stderr)
        return 2
    return 0


def _served(model: LargeModelNetwork, parsed: argparse.Namespace, tell: Callable[[str], None]) -> tuple[list[Row], int]:
    """Rows of both policies, and the number of live steps before the change."""
    frozen, config = copy.deepcopy(model), OnlineConfig()
    rows: list[Row] = []
    live_steps = shift_at = 0

    def add(people: str, stage: _Stage) -> None:
        for policy, each in (("learning", model), ("frozen", frozen)):
            where = {"policy": policy, "population": people, "live_steps": live_steps, "seed": parsed.seed}
            rows.append({**where, **stage.row(each)})
            tell(f"{live_steps:>9,} live steps  {people:<5}  {policy:<8}  return {rows[-1]['return_mean']:6.1f}")

    for half, (people, scenario) in enumerate(PEOPLE.items()):
        stage = _Stage(scenario, parsed.sessions, parsed.evaluation_sessions)
        shift_at = live_steps
        learner = OnlineLearner(model, model.content_of(stage.live), config, parsed.seed)
        add(people, stage)
        for number in range(parsed.rounds):
            place = (parsed.seed * 2 + half) * 2**12 + number
            generator = torch.Generator().manual_seed(place)
            seed = _LIVE_SEED + place * parsed.sessions
            sessions = play(model, stage.live, learner.content, seed=seed, generator=generator)
            learner.learn(sessions)
            live_steps += sessions.num_steps
            if (number + 1) % parsed.evaluate_every == 0:
                add(people, stage)
    return rows, shift_at


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
