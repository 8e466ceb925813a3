"""Online learning of the large model while the population changes, beside a frozen copy.

`python -m benchmarks.experiments.population_shift --model FILE --out DIR`. The first half is played in Video. In the
second half tastes, profiles and catalogue are drawn again by the same rules: what the model knows about Video's users
no longer holds. Both policies are evaluated greedily in the same sessions, of users that live sessions never contain.
Writes population_shift.jsonl and the figure population_shift.
"""

import argparse
import copy
import dataclasses
import sys
from collections.abc import Callable
from typing import Any

from agents.terminal import console, not_negative, number_in, path, positive, warn
from benchmarks.experiments.script import make_parser, run_script
from recsim_env.scenarios import VIDEO

POPULATIONS = {"home": VIDEO, "other": dataclasses.replace(VIDEO, name="Elsewhere")}
"""All draws of a scenario are keyed by its name."""
_LIVE_SEED = 5_000_011


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("population_shift", __doc__)
    parser.add_argument(
        "--model",
        type=path,
        required=True,
        metavar="PATH",
        help="file of `run --save-models`, or folder of a training",
    )
    parser.add_argument("--rounds", type=positive, default=24, metavar="N", help="rounds of live sessions in each half")
    parser.add_argument("--sessions", type=positive, default=96, metavar="N", help="live sessions of each round")
    parser.add_argument("--evaluate-every", type=positive, default=4, metavar="N", help="rounds between evaluations")
    parser.add_argument(
        "--evaluation-sessions",
        type=number_in(int, 2, 1_000_000),
        default=400,
        metavar="N",
        help="sessions of each evaluation",
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of live sessions and draws")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    from agents.large_model.checkpoint import load_network
    from benchmarks.report.figures.experiments import population_shift
    from benchmarks.report.figures.style import write_figure
    from benchmarks.rows import write_rows

    network = load_network(parsed.model, "cpu", warn)
    parsed.out.mkdir(parents=True, exist_ok=True)
    rows, shift_at = _rows(network, parsed, console().print)
    write_rows(parsed.out / "population_shift.jsonl", [{**row, **origin} for row in rows])
    write_figure(parsed.out / "population_shift", lambda: population_shift(rows, shift_at))


def _rows(network: Any, parsed: argparse.Namespace, log: Callable[[str], None]) -> tuple[list[dict[str, Any]], int]:
    """Rows of both policies, and the number of live steps before the change."""
    import torch

    from agents.large_model.agent import LargeModel
    from agents.large_model.online.learner import OnlineConfig, OnlineLearner
    from agents.large_model.rollout import play
    from agents.rollouts.evaluation import evaluate
    from benchmarks.running.run import means
    from benchmarks.suites import HELD_OUT
    from recsim_env.envs.vector import RecommenderVectorEnv

    policies = {"learning": network, "frozen": copy.deepcopy(network)}
    rows: list[dict[str, Any]] = []
    live_steps = shift_at = 0

    def record(population: str, env: RecommenderVectorEnv) -> None:
        for policy, each in policies.items():
            summary = means(evaluate(LargeModel.from_network(each), env, HELD_OUT.sessions_seed))
            values = {name: summary[name] for name in ("return_mean", "return_sem", "num_sessions")}
            place = {"policy": policy, "population": population, "live_steps": live_steps, "seed": parsed.seed}
            rows.append({**place, **values})
            log(f"{live_steps:>9,} live steps  {population:<5}  {policy:<8}  return {values['return_mean']:6.1f}")

    for half, (population, scenario) in enumerate(POPULATIONS.items()):
        live, evaluation = (
            RecommenderVectorEnv(
                num_envs,
                scenario=scenario,
                observation="compact",
                split="test",
                user_split=user_split,
                catalog_seed=HELD_OUT.catalog_seed,
            )
            for num_envs, user_split in ((parsed.sessions, "train"), (parsed.evaluation_sessions, "test"))
        )
        shift_at = live_steps
        learner = OnlineLearner(network, network.content_of(live), OnlineConfig(), parsed.seed)
        record(population, evaluation)
        for number in range(parsed.rounds):
            place = (parsed.seed * 2 + half) * 2**12 + number
            generator = torch.Generator().manual_seed(place)
            seed = _LIVE_SEED + place * parsed.sessions
            sessions = play(network, live, learner.content, seed=seed, generator=generator)
            learner.learn(sessions)
            live_steps += sessions.num_steps
            if (number + 1) % parsed.evaluate_every == 0:
                record(population, evaluation)
    return rows, shift_at


if __name__ == "__main__":
    sys.exit(main())
