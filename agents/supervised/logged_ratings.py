"""Agents that learn from a log of (session, item, stars), in which items were shown at random.

They know items by their ids, so they can say something of the very catalogue alone that the log is of; `learn` is
given that catalogue and other people. Baseline predictors as in Koren, Bell and Volinsky, "Matrix factorization
techniques for recommender systems", IEEE Computer 2009.

Shape legend: N sessions, M candidates, H rows of the history, R logged answers, I items.
"""

import zlib
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import recsim_env  # noqa: F401  (registers the ids)
from agents.agent import Learner, NotFittedError, Observations
from agents.callbacks import Milestones
from agents.rollouts.feedback import AnswerLog, counted_stars, rollout
from agents.rules.popularity import num_impressions, observed_stars
from agents.rules.random_agent import RandomAgent
from agents.saved_tensors import load_tensors, save_tensors
from recsim_env.config import check_number
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.observation import FEEDBACK, MAX_AGE, REFRESH_AT
from recsim_env.simulation.records import NO_ITEM

_KNOWN_IMPRESSIONS = 20.0
"""Impressions from which on the platform's statistics of an item count for half and more."""


class LogLearner(Learner):
    """Ranks by level + effect of the item + what this visitor's history says of it (`tastes`).

    The level a + w (b + c s) is what the platform knows at that time: s is the item's observed stars per impression,
    w = impressions / (impressions + 20), and a, b, c are fitted to the log by least squares. The effect is the mean
    of what its logged stars are above the level, shrunk by a ridge. So an item that the log does not have (released
    after its end, or never drawn) is ranked by popularity. What was consumed but not rated counts as the mean rating.

    Args:
        num_envs: sessions that run side by side while learning.
        item_ridge: logged answers from which on an item's effect counts for half and more.
        max_answers: only the latest so many answers are kept.
    """

    observation = "compact"
    reads_evaluation_catalog = True

    def __init__(self, *, num_envs: int = 512, item_ridge: float = 100.0, max_answers: int = 2_000_000) -> None:
        check_number("num_envs", num_envs, 1, 1_000_000, int)
        check_number("item_ridge", item_ridge, 1e-9, 1e9)
        check_number("max_answers", max_answers, 1, 10**9, int)
        self.num_envs, self.item_ridge, self.max_answers = num_envs, item_ridge, max_answers
        self.learnt: dict[str, np.ndarray] | None = None
        """`levels` [3], `effects` [I], `unrated_stars` [], `catalog` [] (a checksum), and what `fit` adds."""

    @abstractmethod
    def fit(
        self, sessions: np.ndarray, items: np.ndarray, residuals: np.ndarray, num_items: int, seed: int
    ) -> dict[str, np.ndarray]:
        """What `tastes` needs, from logged answers [R]; residuals are stars less level and effect; R may be 0."""

    @abstractmethod
    def tastes(
        self, candidates: np.ndarray, shown: np.ndarray, residuals: np.ndarray, is_used: np.ndarray
    ) -> np.ndarray:
        """[N, M] stars above the average visitor's, for items [N, M], from items [N, H] that were shown, what their
        stars were above level and effect [N, H], and whether the row is in use [N, H]. Ids of missing items are 0."""

    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        num_envs = min(self.num_envs, num_steps)
        env: Any = gymnasium.make_vec(
            env_id, num_envs, vectorization_mode="vector_entry_point", observation="compact", **env_options
        )
        log = AnswerLog(has_purchases=env.simulator.layout.has_purchases, max_answers=self.max_answers)
        player = RandomAgent()
        player.begin(env, seed)

        def show_at_random(observations: Observations, is_first: np.ndarray) -> np.ndarray:
            return player.act({"candidate_mask": observations["candidate_items"] != NO_ITEM}, is_first)

        def fit_and_report(num_taken: int) -> None:
            self._fit_log(log, env, seed)
            if report:
                report(num_taken)

        milestones = Milestones(fit_and_report, report_every, num_steps)
        milestones.begin()
        for step, exposure in enumerate(rollout(env, show_at_random, num_steps, seed), start=1):
            items = np.take_along_axis(exposure.observations["candidate_items"], exposure.slates, 1)
            log.add(exposure, items=items, known=known_statistics(env, items, exposure.observations["time"]))
            milestones.reach(step * num_envs)
        milestones.end(num_steps // num_envs * num_envs)

    def _fit_log(self, log: AnswerLog, env: RecommenderVectorEnv, seed: int) -> None:
        empty = {"session": np.zeros(0, np.int64), "items": np.zeros(0, np.int64), "known": np.zeros((0, 3))}
        columns = {name: log[name] if len(log) else none for name, none in {**empty, "stars": np.zeros(0)}.items()}
        sessions, items, stars = columns["session"], columns["items"], columns["stars"]
        num_items, has_purchases = env.simulator.layout.num_items, env.simulator.layout.has_purchases
        design = level_design(columns["known"], has_purchases)
        levels = np.linalg.lstsq(design, stars, rcond=None)[0] if len(log) else np.array([0.0, 0.0, 1.0])
        residuals = stars - design @ levels
        effects = np.bincount(items, residuals, num_items) / (np.bincount(items, minlength=num_items) + self.item_ridge)
        self.learnt = {
            "levels": levels,
            "effects": effects,
            "unrated_stars": np.array(log.unrated_stars),
            "catalog": np.array(checksum(env)),
            **self.fit(sessions, items, residuals - effects[items], num_items, seed),
        }

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        """Raises `ValueError` if the env's catalogue is not the one that the log was of."""
        super().begin(env, seed)
        self._env = env.unwrapped
        if self.learnt is not None and self.learnt["catalog"] != checksum(self._env):
            raise ValueError(
                f"env: has another catalogue than the log that {type(self).__name__} learnt from; "
                "learn with the env's split and catalog_seed, and another user_split"
            )

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        if self.learnt is None:
            raise NotFittedError
        is_there, is_used = observations["candidate_items"] != NO_ITEM, observations["history_items"] != NO_ITEM
        candidates, shown = (np.maximum(observations[f"{name}_items"], 0) for name in ("candidate", "history"))
        feedback = observations["history_feedback"].reshape(*shown.shape, len(FEEDBACK))
        stars = counted_stars(feedback, self.layout.has_purchases, float(self.learnt["unrated_stars"]))
        residuals = (stars - self._average_stars(shown, observations["time"])) * is_used
        average = self._average_stars(candidates, observations["time"])
        return self.best(average + self.tastes(candidates, shown, residuals, is_used), is_there)

    def _average_stars(self, items: np.ndarray, time: np.ndarray) -> np.ndarray:
        """[N, K]: level and effect of items [N, K] at the platform's time [N, 1]."""
        assert self.learnt is not None
        design = level_design(known_statistics(self._env, items, time), self.layout.has_purchases)
        return design @ self.learnt["levels"] + self.learnt["effects"][items]

    def save(self, path: Path) -> None:
        if self.learnt is None:
            raise NotFittedError
        save_tensors(path, type(self).__name__, self.learnt, {})

    def load(self, path: Path) -> None:
        self.learnt, _ = load_tensors(path, type(self).__name__)


def known_statistics(env: RecommenderVectorEnv, items: np.ndarray, time: np.ndarray) -> np.ndarray:
    """[N, K, 3] float32: what the platform's other traffic says of items [N, K] at the platform's time [N, 1]."""
    ages = np.clip(time - env.catalog_release_steps[items], 0, MAX_AGE)
    return env.catalog_statistics[REFRESH_AT[ages], items]


def level_design(statistics: np.ndarray, has_purchases: bool) -> np.ndarray:
    """[..., 3] float64: 1, w and w s, of statistics [..., 3]; see `LogLearner`."""
    impressions = num_impressions(statistics)
    weight = impressions / (impressions + _KNOWN_IMPRESSIONS)
    return np.stack([np.ones_like(weight), weight, weight * observed_stars(statistics, has_purchases)], -1)


def checksum(env: RecommenderVectorEnv) -> int:
    """Of a catalogue: its content and its release steps."""
    return zlib.crc32(env.catalog_release_steps.tobytes(), zlib.crc32(env.catalog_features.tobytes()))
