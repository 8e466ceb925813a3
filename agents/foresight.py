"""A family of policies that mind what a click does to the person: the myopic one, and how planners begin.

Score of an item: click probability x (stars + care_for_trust (stars - promised stars) + care_for_patience (stars - 3)),
where `stars` is the mean rating. With no care it is the mean reward of showing the item alone.

Shape legend: N sessions, M candidates, I items.
"""

import numpy as np
from numba import njit

from agents.agent import Agent, Observations
from recsim_env.user_model import (
    NO_ITEM,
    choice_utility,
    effective_affinity,
    expected_stars,
    logistic,
    mean_opinion,
)
from recsim_env.vector_env import RecommenderVectorEnv
from recsim_env.world import World

_SAMPLED_USERS = 256


@njit(cache=True)
def foresight(session, item, p, care_for_trust, care_for_patience):
    """Score of an item for one person as he or she is now."""
    affinity = effective_affinity(session, item)
    noise_sd = session.rating_scale * p.rating_noise
    stars = expected_stars(mean_opinion(session, affinity, p.rating_quality * item.quality, p), noise_sd, p)
    worth = stars + care_for_patience * (stars - 3.0)
    if care_for_trust != 0.0:
        promise = mean_opinion(session, affinity, p.expectation_appeal * item.appeal, p)
        worth += care_for_trust * (stars - expected_stars(promise, noise_sd, p))
    return logistic(choice_utility(session, item, affinity, p)) * worth


@njit(cache=True)
def best_by_foresight(session, items, p, care_for_trust, care_for_patience):
    """Index of the candidate with the highest score."""
    best, best_score = 0, -np.inf
    for m in range(len(session.candidates)):
        if session.candidates[m] != NO_ITEM:
            score = foresight(session, items[session.candidates[m]], p, care_for_trust, care_for_patience)
            if score > best_score:
                best, best_score = m, score
    return best


@njit(cache=True, nogil=True)
def _actions(sessions, items, parameters, care_for_trust, care_for_patience, out):
    for n in range(len(sessions)):
        out[n] = best_by_foresight(sessions[n], items, parameters[0], care_for_trust, care_for_patience)


@njit(cache=True, nogil=True)
def _mean_over_people(people, items, parameters, care_for_trust, care_for_patience, out):
    for i in range(len(items)):
        total = 0.0
        for n in range(len(people)):
            total += foresight(people[n], items[i], parameters[0], care_for_trust, care_for_patience)
        out[i] = total / len(people)


def people_of(world: World, like: np.ndarray) -> np.ndarray:
    """Session records of a world's whole population: trusting, and not tired of anything.

    `like` is an array of session records whose fields they shall have; nothing else is taken from it.
    """
    people = np.zeros(len(world.users), like.dtype)
    for name in ("interests", "rating_bias", "rating_scale", "patience", "receptiveness"):
        people[name] = getattr(world.users, name)
    people["trust"] = 1.0
    return people


class OneItemAgent(Agent):
    """What the agents of this family share: how much they care, and that they show one item a step."""

    def __init__(self, care_for_trust: float = 0.0, care_for_patience: float = 0.0) -> None:
        self.care_for_trust, self.care_for_patience = care_for_trust, care_for_patience

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        if self.slate_size != 1:
            raise ValueError(f"slate_size={self.slate_size}: {type(self).__name__} shows one item a step")
        self._simulator = env.simulator


class ForesightOracle(OneItemAgent):
    """Privileged: shows the item with the best score for this person, whose state it reads.

    Args:
        care_for_trust: what a star above what was promised is worth, in stars.
        care_for_patience: what a star above 3 is worth, in stars.
    """

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        actions = np.zeros(self.num_sessions, np.int64)
        _actions(*self._simulator.compiled_model(), self.care_for_trust, self.care_for_patience, actions)
        return actions


class HistoryBlindPlayer(OneItemAgent):
    """Shows the item with the best score for people in general, whatever this person has answered so far.

    It knows every item and the people of `population`, which no deployed agent does: an upper reference for policies
    that do not personalise.
    """

    observation = "compact"

    def __init__(self, population: World, care_for_trust: float = 0.0, care_for_patience: float = 0.0) -> None:
        super().__init__(care_for_trust, care_for_patience)
        self._population = population

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        sessions, items, parameters = self._simulator.compiled_model()
        people = people_of(self._population, sessions)
        sample = np.random.default_rng(seed).integers(len(people), size=_SAMPLED_USERS)
        self._scores = np.zeros(len(items))
        care = self.care_for_trust, self.care_for_patience
        _mean_over_people(people[sample], items, parameters, *care, self._scores)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        return self.best(self._scores[observations["candidate_items"]], observations["candidate_mask"])
