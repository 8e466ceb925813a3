"""Online learning beside a server while its population changes, compared with a model that stays as it is.

`python -m benchmarks.experiments.population_shift --out DIR`. Simulated cold-start users of Video visit a server of
the large model; `agents.large_model.online.service` learns from its database and publishes new versions, as
`learn-online` does. In the second half another population visits a server of another catalogue: tastes, profiles and
items are drawn again by the same rules. The published version, what is learnt but not published, and the first version
are evaluated in the same sessions of users that never visit. Writes population_shift.jsonl, rounds.jsonl, and the
figure population_shift.
"""

import argparse
import asyncio
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.large_model.config import PRETRAINED
from agents.large_model.online.config import OnlineConfig, PublicationConfig, ServedPolicy, ServiceConfig
from agents.large_model.serving.config import SOFTMAX, ServingConfig
from agents.terminal import add_config_arguments, config_from, console, not_negative, number_in, path, positive, warn
from benchmarks.experiments.script import make_parser, run_script
from benchmarks.experiments.served_people import WITHOUT_ARRIVALS, visit
from recsim_env.scenarios import VIDEO

HOME = VIDEO.override(WITHOUT_ARRIVALS)
POPULATIONS = {"home": HOME, "other": dataclasses.replace(HOME, name="Elsewhere")}
"""All draws of a scenario are keyed by its name."""
_LIVE_SEED = 5_000_011
_NO_LIMITS = {"requests_per_second": 1_000_000, "max_sessions": 10**9}


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("population_shift", __doc__)
    parser.add_argument(
        "--model",
        type=path,
        default=PRETRAINED,
        metavar="PATH",
        help="file of `run --save-models`, or folder of a training (default: the pretrained generalist)",
    )
    parser.add_argument("--rounds", type=positive, default=24, metavar="N", help="rounds of visits in each half")
    parser.add_argument("--visits", type=positive, default=160, metavar="N", help="sessions of each round")
    parser.add_argument(
        "--evaluation-sessions",
        type=number_in(int, 2, 1_000_000),
        default=400,
        metavar="N",
        help="sessions of each evaluation",
    )
    parser.add_argument("--live-seed", type=not_negative, default=0, metavar="S", help="of the visits")
    for config in (OnlineConfig, PublicationConfig):
        add_config_arguments(parser, config)
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    from benchmarks.report.figures.experiments import population_shift
    from benchmarks.report.figures.style import write_figure
    from benchmarks.rows import write_rows

    if (parsed.out / "versions").exists():
        raise ValueError(f"{parsed.out}: has the versions of another run; choose another folder")
    rows, rounds = _Run(parsed, console().print).rows_and_rounds()
    write_rows(parsed.out / "population_shift.jsonl", [{**row, **origin} for row in rows])
    write_rows(parsed.out / "rounds.jsonl", [{**each, **origin} for each in rounds])
    write_figure(parsed.out / "population_shift", lambda: population_shift(rows, rounds))


class _Run:
    """The two halves; rows of evaluations, and the rounds."""

    def __init__(self, parsed: argparse.Namespace, log: Callable[[str], None]) -> None:
        from agents.large_model.checkpoint import load_network
        from agents.large_model.serving.model_versions import ModelVersions

        self._parsed, self._log = parsed, log
        self._first = load_network(parsed.model, "cpu", warn)
        self._versions = ModelVersions.create(parsed.out / "versions", self._first)
        self._rows: list[dict[str, Any]] = []
        self._rounds: list[dict[str, Any]] = []
        self._steps = 0

    def rows_and_rounds(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Play both halves."""
        for half, population in enumerate(POPULATIONS):
            self._play(half, population)
        return self._rows, self._rounds

    def _play(self, half: int, population: str) -> None:
        from agents.large_model.commands.learn_online import described
        from agents.large_model.online.service import OnlineService
        from agents.large_model.serving.catalog import ServedCatalog
        from agents.large_model.serving.database import Database
        from agents.large_model.serving.recommender import Recommender

        parsed = self._parsed
        live, evaluation = (
            self._env(population, number, split)
            for number, split in ((parsed.visits, "train"), (parsed.evaluation_sessions, "test"))
        )
        catalog = ServedCatalog(live.simulator, population, {})
        file = parsed.out / f"served-{population}.sqlite"
        config = ServingConfig(selection=SOFTMAX, **_NO_LIMITS)
        database = Database(file, catalog.fingerprint, catalog.about)
        recommender = Recommender(self._served(live), catalog, database, config)
        service = OnlineService(
            file,
            self._versions.folder,
            learning=config_from(parsed, OnlineConfig),
            publication=config_from(parsed, PublicationConfig),
            policy=ServedPolicy(selection=config.selection, exploration=config.exploration),
            config=ServiceConfig(min_sessions=2, max_sessions=parsed.visits, idle_minutes=0.0, seed=parsed.live_seed),
            env=live,
        )
        try:
            self._record(population, evaluation, service)
            for number in range(parsed.rounds):
                place = (parsed.live_seed * 2 + half) * 2**12 + number
                asyncio.run(visit(recommender, live, _LIVE_SEED + place * parsed.visits, f"{half}-{number}"))
                result = service.round()
                if result is None:
                    self._log(f"{population}: {service.num_completed} sessions, too few for a round")
                    continue
                self._steps += result.num_steps
                self._log(f"{population}: {described(result)}")
                about = {"population": population, "live_steps": self._steps, "live_seed": parsed.live_seed}
                self._rounds.append({**about, **dataclasses.asdict(result)})
                if recommender.version != self._versions.published:
                    recommender.use(self._served(live))
                if result.number % service.learning.deploy_every == 0:
                    self._record(population, evaluation, service)
        finally:
            service.close()
            asyncio.run(recommender.close())

    def _env(self, population: str, num_envs: int, user_split: str) -> Any:
        from benchmarks.suites import HELD_OUT
        from recsim_env.envs.vector import RecommenderVectorEnv

        return RecommenderVectorEnv(
            num_envs,
            scenario=POPULATIONS[population],
            observation="compact",
            split="test",
            user_split=user_split,
            catalog_seed=HELD_OUT.catalog_seed,
        )

    def _served(self, env: Any) -> Any:
        from agents.large_model.serving.exported_model import ExportedModel
        from agents.large_model.serving.served_model import ServedModel

        export: Path = self._versions.export_of(self._versions.published)
        return ServedModel.of(ExportedModel(export), env.simulator)

    def _record(self, population: str, env: Any, service: Any) -> None:
        from agents.large_model.agent import LargeModel
        from agents.rollouts.evaluation import evaluate
        from benchmarks.suites import HELD_OUT

        published = self._versions.network_of(self._versions.published)
        policies = {"published": published, "learning": service.network, "frozen": self._first}
        for policy, network in policies.items():
            found = evaluate(LargeModel.from_network(network), env, HELD_OUT.sessions_seed)
            values = {"return_mean": found.mean_return, "return_sem": found.return_sem, "num_sessions": env.num_envs}
            place = {"policy": policy, "population": population, "live_steps": self._steps}
            self._rows.append({**place, "live_seed": self._parsed.live_seed, **values})
            self._log(
                f"{self._steps:>9,} live steps  {population:<5}  {policy:<9}  return {values['return_mean']:6.2f}"
            )


if __name__ == "__main__":
    sys.exit(main())
