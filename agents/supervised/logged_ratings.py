"""Agents that learn from a log of (session, item, reward) in which items were shown at random.

They know items by their ids, and so have to be trained on the catalogue in which they act, with other users. Baseline
predictors as in Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems", IEEE Computer
2009.

Shape legend: N sessions, M candidates, H rows of the history, R logged items, I items of the catalogue.
"""

import zlib
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.agent import Observations
from agents.rollouts.feedback import Exposure, FeedbackLearner, FeedbackLog, observed_rewards
from agents.rules.popularity import reward_per_impression
from recsim_env.config import count, number
from recsim_env.simulation.observation import FEEDBACK, ObservationLayout, num_impressions
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.relevance import MAX_AGE, REFRESH_AT

_KNOWN_IMPRESSIONS = 20.0
"""Impressions at which the weight of an item's statistics is a half."""


@dataclass(kw_only=True, eq=False, repr=False)
class LoggedRatingsLearner(FeedbackLearner):
    """Ranks by level + item effect + the user's deviation from both (`user_scores`).

    The level a + w (b + c s) is a regression on the item statistics: s is the item's reward per impression, w =
    impressions / (impressions + 20), and a, b, c are fitted to the log by least squares. The item effect is the mean of
    the residuals of its logged rewards, shrunk by a ridge. So items that are not in the log are ranked by popularity.
    An item that was consumed but not rated counts as the mean rating.
    """

    observation = "compact"
    reads_evaluation_catalog = True

    item_ridge: float = number(100.0, 1e-9, 1e9)
    """Logged rewards at which the weight of an item's effect is a half."""
    max_rows: int = count(2_000_000, 1, 10**9)
    """As in `FeedbackLearner`."""
    _catalog: int = field(default=0, init=False)
    """Checksum of the log's catalogue."""

    @abstractmethod
    def fit_users(
        self, sessions: np.ndarray, items: np.ndarray, residuals: np.ndarray, num_items: int, seed: int
    ) -> dict[str, np.ndarray]:
        """The parameters of `user_scores`, from a log [R] of rewards minus level and item effect; R may be 0."""

    @abstractmethod
    def user_scores(
        self, candidates: np.ndarray, shown: np.ndarray, residuals: np.ndarray, is_used: np.ndarray
    ) -> np.ndarray:
        """[N, M]: expected rewards minus level and item effect.

        Args:
            candidates: [N, M] ids; 0 for missing ones.
            shown: [N, H] ids of the items in the history.
            residuals: [N, H] their rewards minus level and item effect.
            is_used: [N, H] whether the row is in use.
        """

    def columns(self, env: Any, exposure: Exposure) -> dict[str, np.ndarray]:
        """`items` [N, S] and `statistics` [N, S, 3]."""
        items = np.take_along_axis(exposure.observations["candidate_items"], exposure.slates, 1)
        return {"items": items, "statistics": item_statistics(env, items, exposure.observations["time"])}

    def open_log(self) -> FeedbackLog:
        """As in `FeedbackLearner`; a log of another catalogue is not continued."""
        catalog = checksum(self.env)
        if catalog != self._catalog:
            self._log, self._catalog = None, catalog
        return super().open_log()

    def fit(self, log: FeedbackLog, env: Any, seed: int) -> dict[str, np.ndarray]:
        """`levels` [3], `effects` [I], `unrated` [], `catalog` [] (a checksum), and the results of `fit_users`."""
        empty = {"session": np.zeros(0, np.int64), "items": np.zeros(0, np.int64), "statistics": np.zeros((0, 3))}
        columns = {name: log[name] if len(log) else none for name, none in {**empty, "reward": np.zeros(0)}.items()}
        sessions, items, rewards = columns["session"], columns["items"], columns["reward"]
        num_items = env.simulator.layout.num_items
        design = level_design(columns["statistics"], env.simulator.layout)
        levels = np.linalg.lstsq(design, rewards, rcond=None)[0] if len(log) else np.array([0.0, 0.0, 1.0])
        residuals = rewards - design @ levels
        effects = np.bincount(items, residuals, num_items) / (np.bincount(items, minlength=num_items) + self.item_ridge)
        return {
            "levels": levels,
            "effects": effects,
            "unrated": np.array(log.unrated),
            "catalog": np.array(checksum(env)),
            **self.fit_users(sessions, items, residuals - effects[items], num_items, seed),
        }

    def initial_state(self, num_sessions: int) -> None:
        """Raises `ValueError` if the env's catalogue is not the one of the log."""
        self.require_fit()
        if self.parameters["catalog"] != checksum(self.env):
            raise ValueError(
                f"env: has another catalogue than the log of {type(self).__name__}; train it in an env with the same "
                "split and catalog_seed, and another user_split"
            )

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        self.require_fit()
        is_available, is_used = observations["candidate_items"] != NO_ITEM, observations["history_items"] != NO_ITEM
        candidates, shown = (np.maximum(observations[f"{name}_items"], 0) for name in ("candidate", "history"))
        feedback = observations["history_feedback"].reshape(*shown.shape, len(FEEDBACK))
        rewards = observed_rewards(feedback, self.layout, float(self.parameters["unrated"]))
        residuals = (rewards - self._expected_rewards(shown, observations["time"])) * is_used
        expected = self._expected_rewards(candidates, observations["time"])
        scores = expected + self.user_scores(candidates, shown, residuals, is_used)
        return self.top_candidates(scores, is_available)

    def _expected_rewards(self, items: np.ndarray, time: np.ndarray) -> np.ndarray:
        """[N, K]: level and effect of items [N, K] at the platform's time [N, 1]."""
        design = level_design(item_statistics(self.env, items, time), self.layout)
        return design @ self.parameters["levels"] + self.parameters["effects"][items]


def item_statistics(env: Any, items: np.ndarray, time: np.ndarray) -> np.ndarray:
    """[N, K, 3] float32: statistics of items [N, K] at the platform's time [N, 1], before these sessions."""
    ages = np.clip(time - env.catalog_release_steps[items], 0, MAX_AGE)
    return env.catalog_statistics[REFRESH_AT[ages], items]


def level_design(statistics: np.ndarray, layout: ObservationLayout) -> np.ndarray:
    """[..., 3] float64: 1, w and w s, of statistics [..., 3]; see `LoggedRatingsLearner`."""
    impressions = num_impressions(statistics)
    weight = impressions / (impressions + _KNOWN_IMPRESSIONS)
    return np.stack([np.ones_like(weight), weight, weight * reward_per_impression(statistics, layout)], -1)


def checksum(env: Any) -> int:
    """Of a catalogue: its content, and the ids of its items in their log or, without one, its release steps."""
    ids = env.simulator.world.items.ids
    items = env.catalog_release_steps.tobytes() if ids is None else "\n".join(ids).encode()
    return zlib.crc32(items, zlib.crc32(env.catalog_features.tobytes()))
