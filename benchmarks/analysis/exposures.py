"""Exposures in an evaluation, and the facts about a catalogue that exposure metrics need.

An *exposure* is one item in one slot at one step of a running session; its *age* is the platform's time minus the
item's release time.

Shape legend: I items, F content features, A refreshes of the background statistics, K exposures, G topics.
"""

from dataclasses import dataclass

import numpy as np

from agents.rollouts.evaluation import Evaluation
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.observation import STATISTICS, num_impressions
from recsim_env.simulation.records import NO_ITEM


@dataclass(frozen=True, kw_only=True)
class CatalogFacts:
    """Facts about a catalogue and its scenario that metrics need."""

    content: np.ndarray
    """[I, F] float: content features."""
    topics: np.ndarray
    """[I, G] float: share of each topic in an item, as observed; rows sum to 1, or to 0 where no topic is observed."""
    creators: np.ndarray
    """[I] int64: creator of each item."""
    num_creators: int
    """1 where the scenario has no creators."""
    release_steps: np.ndarray
    """[I] int64: platform time from which an item is available."""
    retire_steps: np.ndarray
    """[I] int64: platform time from which it is no longer available."""
    clicks: np.ndarray
    """[A, I] float64: clicks on the rest of the platform, by the bin of the item's age."""
    new_item_age: int
    """An item is new while its age is below this."""
    has_visits: bool
    """Whether an episode has several visits of a user."""

    @classmethod
    def of(cls, env: RecommenderVectorEnv) -> "CatalogFacts":
        """The facts of an env's catalogue. Exposures to the env's own users on a live platform are not counted."""
        world = env.simulator.world
        click_rates = env.catalog_statistics[:, :, STATISTICS.index("click_rate")].astype(np.float64)
        topics = np.asarray(world.items.observed_topics, np.float64)
        sums = topics.sum(1, keepdims=True)
        return cls(
            content=world.items.features,
            topics=np.divide(topics, sums, out=np.zeros_like(topics), where=sums > 0.0),
            creators=world.items.creators,
            num_creators=world.scenario.catalog.num_creators,
            release_steps=np.array(world.item_records["release_step"]),
            retire_steps=np.array(world.item_records["retire_step"]),
            clicks=np.round(num_impressions(env.catalog_statistics) * click_rates),
            new_item_age=world.scenario.catalog.new_item_age,
            has_visits=world.scenario.lifetime.num_days > 0,
        )


@dataclass(frozen=True, kw_only=True)
class Exposures:
    """All exposures in an evaluation, ordered by step."""

    items: np.ndarray
    """[K] int64"""
    sessions: np.ndarray
    """[K] int64: index of the session."""
    times: np.ndarray
    """[K] int64: platform time."""
    ages: np.ndarray
    """[K] int64: age of the item, in steps."""
    rewards: np.ndarray
    """[K] float64: reward of the whole slate."""
    is_clicked: np.ndarray
    """[K] bool"""

    @classmethod
    def of(cls, evaluation: Evaluation, facts: CatalogFacts) -> "Exposures":
        is_shown = (evaluation.items != NO_ITEM) & evaluation.is_running[:, :, None]
        steps, sessions, _ = np.nonzero(is_shown)
        items = evaluation.items[is_shown].astype(np.int64)
        times = evaluation.times[steps, sessions]
        return cls(
            items=items,
            sessions=sessions,
            times=times,
            ages=times - facts.release_steps[items],
            rewards=evaluation.rewards[steps, sessions],
            is_clicked=evaluation.is_clicked[is_shown],
        )


def is_available(evaluation: Evaluation, facts: CatalogFacts) -> np.ndarray:
    """[I] bool: whether an item was available during any session, that is, whether a session ended after the item's
    release and began before its retirement.
    """
    starts, ends = evaluation.times[0], evaluation.times[evaluation.lengths - 1, np.arange(len(evaluation.lengths))] + 1
    by_end = np.argsort(ends)
    first_starts = np.minimum.accumulate(starts[by_end][::-1])[::-1]  # of sessions that end no earlier
    later = np.searchsorted(ends[by_end], facts.release_steps, side="right")
    first_starts = np.append(first_starts, np.iinfo(np.int64).max)
    return first_starts[later] < facts.retire_steps
