"""Trains and evaluates the agents of a suite, cell by cell (agent x scenario x seed), in worker processes."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import gymnasium
import numpy as np

import recsim_env  # noqa: F401  (registers the ids, in every worker)
from agents.agent import Learner
from agents.evaluation import evaluate
from benchmarks.results import Row
from benchmarks.suites import AGENTS, ONE, TEST_CATALOG_SEED, TEST_SESSIONS_SEED, ZERO, Suite


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One agent in one scenario with one seed."""

    suite_name: str
    suite: Suite
    agent: str
    scenario: str
    seed: int
    world: str | None

    @property
    def is_learner(self) -> bool:
        return isinstance(AGENTS[self.agent](), Learner)

    @property
    def env_id(self) -> str:
        return f"recsim_env/{self.scenario}-v0"

    def world_options(self) -> dict[str, Any]:
        return {"world": self.world} if self.scenario == "MovieLens" and self.world else {}


def cells(suite_name: str, suite: Suite, world: str | None = None) -> list[Cell]:
    """The cells of a suite; those that set the scale of the scores first, then the longest."""
    every = [
        Cell(suite_name=suite_name, suite=suite, agent=agent, scenario=scenario, seed=seed, world=world)
        for scenario in suite.scenarios
        for agent in suite.agents
        for seed in range(suite.num_seeds)
    ]
    return sorted(every, key=lambda cell: (cell.agent not in (ZERO, ONE), not cell.is_learner))


def run_cell(cell: Cell) -> list[Row]:
    """Train (if the agent learns) and evaluate; a row without a score for each evaluation."""
    import torch

    torch.set_num_threads(1)
    suite, agent = cell.suite, AGENTS[cell.agent]()
    env = gymnasium.make_vec(
        cell.env_id,
        suite.num_sessions,
        vectorization_mode="vector_entry_point",
        observation=agent.observation,
        split="test",
        catalog_seed=TEST_CATALOG_SEED,
        **cell.world_options(),
    )
    rows: list[Row] = []
    started, evaluating = time.perf_counter(), 0.0

    def report(env_steps: int) -> None:
        nonlocal evaluating
        before = time.perf_counter()
        evaluation = evaluate(agent, env, TEST_SESSIONS_SEED, cell.seed)  # type: ignore[arg-type]
        returns = evaluation.returns
        rows.append(
            {
                "suite": cell.suite_name,
                "agent": cell.agent,
                "scenario": cell.scenario,
                "seed": cell.seed,
                "env_steps": env_steps,
                "return_mean": float(returns.mean()),
                "return_sem": float(returns.std(ddof=1) / np.sqrt(len(returns))),
                "session_length_mean": float(evaluation.lengths.mean()),
                "churn": float(evaluation.has_left.mean()),
                "wall_s": round(before - started - evaluating, 3),
            }
        )
        evaluating += time.perf_counter() - before

    if isinstance(agent, Learner):
        options = {"split": "train", "catalog_seed": cell.seed, **cell.world_options()}
        every = suite.num_steps // suite.num_evaluations
        agent.learn(cell.env_id, options, suite.num_steps, cell.seed, report, every)
    else:
        report(0)
    return rows


def run_cells(todo: list[Cell], num_workers: int) -> Iterator[tuple[Cell, list[Row]]]:
    """Run cells in worker processes; yields each with its rows as it is done."""
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run_cell, cell): cell for cell in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def with_scores(rows: list[Row]) -> list[Row]:
    """Rows with `score` = (return - random) / (oracle - random), by the means over the suite's seeds."""
    scored = []
    for row in rows:
        zero, one = (
            float(np.mean([r["return_mean"] for r in rows if (r["scenario"], r["agent"]) == (row["scenario"], name)]))
            for name in (ZERO, ONE)
        )
        score, error = (row["return_mean"] - zero) / (one - zero), row["return_sem"] / (one - zero)
        scored.append({**row, "score": score, "score_sem": error})
    return scored
