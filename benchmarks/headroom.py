"""The headroom ladder of a scenario: what there is to gain by personalising, by remembering and by planning.

Every rung plays the same sessions of held-out users and a held-out catalogue, so differences are paired. What a rung
leaves open (how much to care for trust and patience) is chosen on the training split.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np

import recsim_env  # noqa: F401  (registers the ids)
from agents.agent import Agent
from agents.bayes_filter import BayesFilterPlayer
from agents.empirical_bayes import EmpiricalBayesLinUCB
from agents.evaluation import evaluate
from agents.foresight import Care, ForesightOracle, HistoryBlindPlayer
from agents.linucb import LinUCB
from agents.myopic_oracle import MyopicOracle
from agents.planning_oracle import PlanningOracle
from agents.popularity import PopularityAgent
from agents.random_agent import RandomAgent
from benchmarks.results import Row
from benchmarks.suites import TEST_CATALOG_SEED, TEST_SESSIONS_SEED
from recsim_env.scenarios import scenario_named
from recsim_env.world import World, build_world

CARES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Values that each relevant field of `Care` can take; each rung takes the best found on the training split."""

TEMPERATURES = (0.0, 0.3, 1.0)
"""Temperatures of the history-blind player; it too takes the best found on the training split."""

NUM_TUNING_SESSIONS = 500
NUM_LOGGED_STEPS = 100_000
"""User-steps of random exposure to which the empirical-Bayes prior is fitted."""

CLAIMS = {
    "personalising pays": ("myopic-oracle", "history-blind"),
    "remembering pays": ("bayes-filter", "history-blind"),
    "planning pays": ("planning-oracle", "myopic-oracle"),
}
"""Ratios of gains over random that a scenario is judged by: the first rung's over the second's."""


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """How a ladder is measured."""

    scenario: str
    num_sessions: int = 300
    """Evaluation sessions of every rung."""
    num_futures: int = 32
    """Futures that the planning oracle plays out for each candidate."""
    num_particles: int = 512
    """Particles of the Bayes-filter player."""
    session_length: int | None = None
    """Steps of a session; None is the scenario's own number."""

    def env(self, split: str, num_envs: int, agent: Agent) -> Any:
        """A vector env of one split, with the observations that the agent wants."""
        seed = TEST_CATALOG_SEED if split == "test" else 0
        options: dict[str, Any] = {"split": split, "catalog_seed": seed, "session_length": self.session_length}
        return gymnasium.make_vec(f"recsim_env/{self.scenario}-v0", num_envs, observation=agent.observation, **options)


def best_care(ladder: Ladder, make: Callable[[Care], Agent]) -> Care:
    """The setting with the highest mean return on the training split: one field after the other, twice."""
    found: dict[Care, float] = {}

    def mean_return(care: Care) -> float:
        if care not in found:
            agent = make(care)
            returns = evaluate(agent, ladder.env("train", NUM_TUNING_SESSIONS, agent), 0).returns
            found[care] = float(returns.mean())
        return found[care]

    best = Care()
    for _ in range(2):
        for name in Care.relevant_in(scenario_named(ladder.scenario)):
            best = max((dataclasses.replace(best, **{name: value}) for value in CARES), key=mean_return)
    return best


def best_blind(ladder: Ladder, population: World) -> HistoryBlindPlayer:
    """The history-blind player with the highest mean return on the training split, of all settings and temperatures."""

    def mean_return(agent: HistoryBlindPlayer) -> float:
        return float(evaluate(agent, ladder.env("train", NUM_TUNING_SESSIONS, agent), 0).returns.mean())

    players = []
    for temperature in TEMPERATURES:
        make = partial(HistoryBlindPlayer, population, temperature=temperature)
        players.append(make(best_care(ladder, make)))
    return max(players, key=mean_return)


def rungs(ladder: Ladder) -> Iterator[tuple[str, Agent, dict[str, float]]]:
    """The rungs from the cheapest to the dearest: name, agent ready to act, and the settings chosen for it."""
    population: World = build_world(scenario_named(ladder.scenario), 0, "train")
    yield "random", RandomAgent(), {}
    yield "popularity", PopularityAgent(), {}
    yield "linucb", LinUCB(), {}
    learner = EmpiricalBayesLinUCB()
    options: dict[str, Any] = {"split": "train", "session_length": ladder.session_length}
    learner.learn(f"recsim_env/{ladder.scenario}-v0", options, NUM_LOGGED_STEPS, seed=0)
    yield "eb-linucb", learner, {}
    yield "myopic-oracle", MyopicOracle(), {}
    blind = best_blind(ladder, population)
    yield "history-blind", blind, _named(blind.care) | {"temperature": blind.temperature}
    care = best_care(ladder, ForesightOracle)
    player = BayesFilterPlayer(population, care, num_particles=ladder.num_particles)
    yield "bayes-filter", player, _named(care)
    yield "foresight-oracle", ForesightOracle(care), _named(care)
    yield "planning-oracle", PlanningOracle(care, num_futures=ladder.num_futures), _named(care)


def _named(care: Care) -> dict[str, float]:
    return {f"care_for_{name}": value for name, value in dataclasses.asdict(care).items()}


def climb(ladder: Ladder) -> Iterator[tuple[Row, np.ndarray]]:
    """Play every rung; yields its row (without a score) and its returns [N], one for each session."""
    for name, agent, settings in rungs(ladder):
        began = time.perf_counter()
        evaluation = evaluate(agent, ladder.env("test", ladder.num_sessions, agent), TEST_SESSIONS_SEED)
        returns = evaluation.returns
        row = {
            "suite": "headroom",
            "agent": name,
            "scenario": ladder.scenario,
            "seed": 0,
            "env_steps": 0,
            "return_mean": float(returns.mean()),
            "return_sem": float(returns.std(ddof=1) / np.sqrt(len(returns))),
            "session_length_mean": float(evaluation.lengths.mean()),
            "churn": float(evaluation.has_left.mean()),
            "num_sessions": ladder.num_sessions,
            "wall_s": round(time.perf_counter() - began, 3),
            **settings,
        }
        yield row, returns


def ratio_of_gains(
    upper: np.ndarray, lower: np.ndarray, at_random: np.ndarray, num_draws: int = 2_000
) -> tuple[float, float, float]:
    """(mean upper - mean random) / (mean lower - mean random), and its 95% interval by the paired bootstrap.

    Arguments are returns [N] of the same sessions. Sessions are drawn with replacement, together for all three.
    """
    generator = np.random.default_rng(0)
    draws = generator.integers(len(upper), size=(num_draws, len(upper)))

    def ratio(sample: np.ndarray) -> np.ndarray:
        zero = at_random[sample].mean(-1)
        return (upper[sample].mean(-1) - zero) / (lower[sample].mean(-1) - zero)

    low, high = np.percentile(ratio(draws), [2.5, 97.5])
    return float(ratio(np.arange(len(upper)))), float(low), float(high)


def finished(rows: list[Row], returns: dict[str, np.ndarray]) -> list[Row]:
    """The rows of one ladder with `score` (0 random, 1 planning oracle) and, on the upper rung of each claim, its
    ratio with the interval."""
    zero, one = returns["random"].mean(), returns["planning-oracle"].mean()
    made = claims(returns)
    scored = []
    for row in rows:
        upper = {claim: made[claim] for claim, (above, _) in CLAIMS.items() if above == row["agent"]}
        score = {"score": (row["return_mean"] - zero) / (one - zero), "score_sem": row["return_sem"] / (one - zero)}
        scored.append({**row, **score, "claims": upper})
    return scored


def claims(returns: dict[str, np.ndarray]) -> dict[str, tuple[float, float, float]]:
    """Each of `CLAIMS` with its ratio and interval, from the rungs' returns."""
    return {
        claim: ratio_of_gains(returns[upper], returns[lower], returns["random"])
        for claim, (upper, lower) in CLAIMS.items()
    }
