"""A family of policies that mind what a click does to the person: the myopic one, and how planners begin.

Score of an item: click probability x chance that it is rated x (stars + care for trust (stars - promised stars) +
care for patience (stars - 3) - care for budget price + care for following (chance to follow its creator)), where
`stars` is the mean rating. With no care it is the mean rating of showing the item alone.

Shape legend: N sessions, M candidates, I items, A ages of an item.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from agents.agent import Agent, Env, NotFittedError, Observations
from agents.references.value_weights import ModelBasedReference, ValueWeights, best_care
from agents.saved_tensors import load_tensors, save_tensors
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.user_model import (
    anticipated_rating,
    choice_utility,
    effective_affinity,
    expected_rating,
    logistic,
    purchase_probability,
)
from recsim_env.world.item_statistics import new_user_sessions
from recsim_env.world.world import World


@njit(cache=True)
def lookahead(session, item, p, value_weights):
    """Score of an item for one person as he or she is now."""
    affinity = effective_affinity(session, item, p)
    stars = expected_rating(session, item, affinity, p)
    worth = stars + value_weights[1] * (stars - 3.0)
    if value_weights[0] != 0.0:
        worth += value_weights[0] * (stars - anticipated_rating(session, item, affinity, p))
    if value_weights[3] != 0.0:
        liking = (stars - 3.0) / 2.0
        if session.follows[item.creator] == 0:
            worth += value_weights[3] * p.follow_probability * max(liking, 0.0)
        else:
            worth += value_weights[3] * p.unfollow_probability * min(liking, 0.0)
    if p.is_shop:
        worth = purchase_probability(session, item, affinity, p) * (worth - value_weights[2] * item.price)
    return logistic(choice_utility(session, item, affinity, p)) * worth


@njit(cache=True)
def best_by_foresight(session, items, p, value_weights):
    """Index of the candidate with the highest score."""
    best, best_score = 0, -np.inf
    for m in range(len(session.candidates)):
        if session.candidates[m] != NO_ITEM:
            score = lookahead(session, items[session.candidates[m]], p, value_weights)
            if score > best_score:
                best, best_score = m, score
    return best


@njit(cache=True, nogil=True)
def _actions(sessions, items, parameters, value_weights, out):
    for n in range(len(sessions)):
        out[n] = best_by_foresight(sessions[n], items, parameters[0], value_weights)


@njit(cache=True, nogil=True)
def _scores(sessions, items, parameters, value_weights, out):
    for n in range(len(sessions)):
        for m in range(len(sessions[n].candidates)):
            item = sessions[n].candidates[m]
            out[n, m] = lookahead(sessions[n], items[item], parameters[0], value_weights) if item != NO_ITEM else 0.0


@njit(cache=True, nogil=True)
def _mean_over_people(people, items, parameters, value_weights, out):
    """Fill `out` [I, A] with the mean score of each item at the ages 0 .. A - 1."""
    for i in range(len(items)):
        for age in range(out.shape[1]):
            out[i, age] = 0.0
            for n in range(len(people)):
                people[n].start_step = items[i].release_step + age
                out[i, age] += lookahead(people[n], items[i], parameters[0], value_weights) / len(people)


def sample_of(world: World, chosen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Session records of users of a world, by their indices, as they come for the first time."""
    noise_keys = generator.integers(2**63, size=len(chosen)).astype(np.uint64)
    return new_user_sessions(world.user_records, chosen, noise_keys, world.sizes, world.parameters(2), world.own_users)


class LookaheadOracle(ModelBasedReference):
    """Privileged: shows the item with the best score for this person, whose state it reads."""

    observation = "compact"

    def trial(self, value_weights: ValueWeights) -> Agent:
        return LookaheadOracle(value_weights=value_weights)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        actions = np.zeros(self.num_sessions, np.int64)
        self._simulator.adapted(_actions)(*self._simulator.compiled_model(), self.value_weights.weights(), actions)
        return actions

    def scores(self) -> np.ndarray:
        """[N, M]: what it makes of each of the present candidates, in stars; 0 for missing ones."""
        scores = np.zeros((self.num_sessions, self.layout.num_candidates))
        self._simulator.adapted(_scores)(*self._simulator.compiled_model(), self.value_weights.weights(), scores)
        return scores


class HistoryBlindPolicy(ModelBasedReference):
    """Shows the item with the best score for people in general, whatever this person has answered so far.

    It knows every item and the people of `population`, which no deployed agent does: an upper reference for policies
    that do not personalise.

    Args:
        temperature: in units of the score; above 0 it draws candidates with probability exp(score / temperature) up
            to a constant, so that people do not tire of what is best in general.
        temperatures: values that `learn` tries.
        num_people: people in whose eyes an item is scored.
        others: as for `ModelBasedReference`.
    """

    observation = "compact"

    def __init__(
        self,
        *,
        temperature: float = 0.0,
        temperatures: Sequence[float] = (0.0, 0.3, 1.0),
        num_people: int = 256,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.temperature, self.temperatures, self.num_people = temperature, tuple(temperatures), num_people

    def trial(self, value_weights: ValueWeights, temperature: float = 0.0) -> Agent:
        return HistoryBlindPolicy(
            value_weights=value_weights, population=self.population, temperature=temperature, num_people=self.num_people
        )

    def choose(self, env: Any) -> None:
        highest = -np.inf
        for temperature in self.temperatures:
            value_weights, mean_return = best_care(
                partial(self.trial, temperature=temperature), env, self.weight_candidates
            )
            if mean_return > highest:
                highest, self.temperature, self.value_weights = mean_return, temperature, value_weights

    def best_params(self) -> dict[str, float]:
        return {**super().best_params(), "temperature": self.temperature}

    def begin(self, env: Env, seed: int = 0) -> None:
        super().begin(env, seed)
        if self.population is None:
            raise NotFittedError
        _, items, parameters = self._simulator.compiled_model()
        generator = np.random.default_rng(seed)
        chosen = generator.integers(len(self.population.users), size=self.num_people)
        people = sample_of(self.population, chosen, generator)
        self._generator = generator
        scenario, num_ages = self.population.scenario, 1
        if scenario.behaviour.choice_freshness > 0.0:
            num_ages = min(scenario.catalog.shelf_life, int(8 * scenario.behaviour.freshness_half_life) + 1)
        self._release_steps = env.unwrapped.catalog_release_steps
        self._scores = np.zeros((len(items), num_ages))
        self._simulator.adapted(_mean_over_people)(
            people, items, parameters, self.value_weights.weights(), self._scores
        )

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        items = observations["candidate_items"]
        ages = np.minimum(observations["time"] - self._release_steps[items], self._scores.shape[1] - 1)
        scores = self._scores[items, ages]
        if self.temperature > 0.0:  # the largest of the scores with Gumbel noise is a draw of the softmax
            scores = scores + self.temperature * self._generator.gumbel(size=scores.shape)
        return self.best(scores, items != NO_ITEM)

    def save(self, path: Path) -> None:
        if not self._learnt_in:
            raise NotFittedError
        own = {"care": self.value_weights.weights(), "temperature": np.array(self.temperature)}
        save_tensors(path, type(self).__name__, own, self._learnt_in)

    def load(self, path: Path) -> None:
        super().load(path)
        self.temperature = float(load_tensors(path, type(self).__name__)[0]["temperature"])
