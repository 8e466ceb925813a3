"""A family of policies that mind what a click does to the person: the myopic one, and how planners begin.

Score of an item: click probability x chance that it is rated x (stars + care for trust (stars - promised stars) +
care for patience (stars - 3) - care for budget price + care for following (chance to follow its creator)), where
`stars` is the mean rating. With no care it is the mean rating of showing the item alone.

Shape legend: N sessions, M candidates, I items, A ages of an item.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from agents.agent import Agent, Observations
from recsim_env.config import Scenario
from recsim_env.records import NO_ITEM
from recsim_env.traffic import visitors
from recsim_env.user_model import (
    choice_utility,
    effective_affinity,
    logistic,
    mean_rating_of,
    promised_rating,
    purchase_probability,
)
from recsim_env.vector_env import RecommenderVectorEnv
from recsim_env.world import World

_SAMPLED_USERS = 256


@dataclass(frozen=True, kw_only=True)
class Care:
    """What the consequences of a step are worth to a policy, in stars."""

    trust: float = 0.0
    """A star above what was promised."""
    patience: float = 0.0
    """A star above 3."""
    budget: float = 0.0
    """A unit of the user's money that is not spent."""
    following: float = 0.0
    """A creator whom the user follows."""

    @staticmethod
    def relevant_in(scenario: Scenario) -> tuple[str, ...]:
        """The names of what has consequences in a scenario at all."""
        names = ["trust", "patience"]
        if scenario.behaviour.is_shop:
            names.append("budget")
        if scenario.behaviour.follow_probability > 0.0:
            names.append("following")
        return tuple(names)

    def weights(self) -> np.ndarray:
        """[4] float64, as compiled code takes them."""
        return np.array([self.trust, self.patience, self.budget, self.following])


@njit(cache=True)
def foresight(session, item, p, care):
    """Score of an item for one person as he or she is now."""
    affinity = effective_affinity(session, item, p)
    stars = mean_rating_of(session, item, affinity, p)
    worth = stars + care[1] * (stars - 3.0)
    if care[0] != 0.0:
        worth += care[0] * (stars - promised_rating(session, item, affinity, p))
    if care[3] != 0.0:
        liking = (stars - 3.0) / 2.0
        if session.follows[item.creator] == 0:
            worth += care[3] * p.follow_probability * max(liking, 0.0)
        else:
            worth += care[3] * p.unfollow_probability * min(liking, 0.0)
    if p.is_shop:
        worth = purchase_probability(session, item, affinity, p) * (worth - care[2] * item.price)
    return logistic(choice_utility(session, item, affinity, p)) * worth


@njit(cache=True)
def best_by_foresight(session, items, p, care):
    """Index of the candidate with the highest score."""
    best, best_score = 0, -np.inf
    for m in range(len(session.candidates)):
        if session.candidates[m] != NO_ITEM:
            score = foresight(session, items[session.candidates[m]], p, care)
            if score > best_score:
                best, best_score = m, score
    return best


@njit(cache=True, nogil=True)
def _actions(sessions, items, parameters, care, out):
    for n in range(len(sessions)):
        out[n] = best_by_foresight(sessions[n], items, parameters[0], care)


@njit(cache=True, nogil=True)
def _mean_over_people(people, items, parameters, care, out):
    """Fill `out` [I, A] with the mean score of each item at the ages 0 .. A - 1."""
    for i in range(len(items)):
        for age in range(out.shape[1]):
            out[i, age] = 0.0
            for n in range(len(people)):
                people[n].start_step = items[i].release_step + age
                out[i, age] += foresight(people[n], items[i], parameters[0], care) / len(people)


def sample_of(world: World, chosen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Session records of users of a world, by their indices, as they come for the first time."""
    noise_keys = generator.integers(2**63, size=len(chosen)).astype(np.uint64)
    return visitors(world.user_records, chosen, noise_keys, world.sizes, world.parameters(2), world.own_users)


class OneItemAgent(Agent):
    """What the agents of this family share: how much they care, and that they show one item a step."""

    def __init__(self, care: Care = Care()) -> None:
        self.care = care

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        if self.slate_size != 1:
            raise ValueError(f"slate_size={self.slate_size}: {type(self).__name__} shows one item a step")
        self._simulator = env.simulator


class ForesightOracle(OneItemAgent):
    """Privileged: shows the item with the best score for this person, whose state it reads."""

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        actions = np.zeros(self.num_sessions, np.int64)
        self._simulator.adapted(_actions)(*self._simulator.compiled_model(), self.care.weights(), actions)
        return actions


class HistoryBlindPlayer(OneItemAgent):
    """Shows the item with the best score for people in general, whatever this person has answered so far.

    It knows every item and the people of `population`, which no deployed agent does: an upper reference for policies
    that do not personalise.

    Args:
        population: the world whose people it expects.
        care: as for `ForesightOracle`.
        temperature: in units of the score; above 0 it draws candidates with probability exp(score / temperature) up
            to a constant, so that people do not tire of what is best in general.
    """

    observation = "compact"

    def __init__(
        self,
        population: World,
        care: Care = Care(),
        temperature: float = 0.0,
    ) -> None:
        super().__init__(care)
        self._population, self.temperature = population, temperature

    def begin(self, env: RecommenderVectorEnv, seed: int = 0) -> None:
        super().begin(env, seed)
        _, items, parameters = self._simulator.compiled_model()
        generator = np.random.default_rng(seed)
        chosen = generator.integers(len(self._population.users), size=_SAMPLED_USERS)
        people = sample_of(self._population, chosen, generator)
        self._generator = generator
        scenario, num_ages = self._population.scenario, 1
        if scenario.behaviour.choice_freshness > 0.0:
            num_ages = min(scenario.catalog.shelf_life, int(8 * scenario.behaviour.freshness_half_life) + 1)
        self._release_steps = env.catalog_release_steps
        self._scores = np.zeros((len(items), num_ages))
        self._simulator.adapted(_mean_over_people)(people, items, parameters, self.care.weights(), self._scores)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        items = observations["candidate_items"]
        ages = np.minimum(observations["time"] - self._release_steps[items], self._scores.shape[1] - 1)
        scores = self._scores[items, ages]
        if self.temperature > 0.0:  # the largest of the scores with Gumbel noise is a draw of the softmax
            scores = scores + self.temperature * self._generator.gumbel(size=scores.shape)
        return self.best(scores, items != NO_ITEM)
