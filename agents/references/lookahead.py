"""The lookahead score: a click's expected reward and the value of its consequences. The references rank by it.

Score of an item: click probability x (expected reward of a click + value of its consequences). In the latter, each of
`ValueWeights` multiplies a consequence: rating - anticipated rating (trust), rating - 3 (patience), - price (budget),
the probability to follow its creator (following), 1 (click), the consumed fraction (consumption), the same x affinity
(satiation) and the change of interests along themselves (interests), where `rating` is the expected rating. In a shop,
all but the click's count when the item is bought. With weights of 0 it is the expected reward of showing it alone.

Shape legend: N sessions, M candidates, I items, C consequences, A bins of the age of an item.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from agents.agent import Agent, NotFittedError, Observations, Starts, State
from agents.references.value_weights import ModelBasedReference, ValueWeights, best_weights, live_simulator
from recsim_env.config import count, number
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.compilation import compiled, kernel
from recsim_env.simulation.record_types import as_bytes
from recsim_env.simulation.records import ITEM, NO_ITEM, PARAMETERS, SESSION, make_layout
from recsim_env.simulation.relevance import MAX_AGE, REFRESH_AT
from recsim_env.simulation.user_model import (
    anticipated_rating,
    choice_utility,
    consumption_logit,
    effective_affinity,
    expected_rating,
    logistic,
    purchase_probability,
)
from recsim_env.world.item_statistics import new_user_sessions
from recsim_env.world.world import World


@compiled
def lookahead(session, item, p, value_weights):
    """Score of an item for a user in the current state; the weights [C] are those of `VALUE_WEIGHTS`."""
    trust, patience, budget, following = value_weights[0], value_weights[1], value_weights[2], value_weights[3]
    click, interests = value_weights[4], value_weights[7]
    affinity = effective_affinity(session, item, p)
    rating = expected_rating(session, item, affinity, p)
    liking = (rating - 3.0) / 2.0
    value = p.reward_rating * (rating - p.reward_neutral_rating) + patience * (rating - 3.0)
    if trust != 0.0:
        value += trust * (rating - anticipated_rating(session, item, affinity, p))
    if following != 0.0:
        if session.follows[item.creator] == 0:
            value += following * p.follow_probability * max(liking, 0.0)
        else:
            value += following * p.unfollow_probability * min(liking, 0.0)
    if interests != 0.0:
        for d in range(len(session.interests)):
            value += interests * session.receptiveness * liking * item.factors[d] * session.interests[d]
    of_consumption = value_weights[5] + value_weights[6] * affinity
    if p.is_shop:
        value += p.reward_purchase - budget * item.price + of_consumption
        value *= purchase_probability(session, item, affinity, p)
        of_consumption = 0.0
    value += p.reward_click + click
    of_consumption += p.reward_consumption
    if of_consumption != 0.0:
        value += of_consumption * logistic(consumption_logit(item, affinity, p))
    return logistic(choice_utility(session, item, affinity, p)) * value


@kernel
def _scores(sessions, items, parameters, layout, value_weights, out):
    """Fill `out` [N, M] with the scores of the candidates; `value_weights` [N, C]."""
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    for n in range(len(sessions)):
        for m in range(len(sessions[n].candidates)):
            item = sessions[n].candidates[m]
            out[n, m] = lookahead(sessions[n], items[item], p, value_weights[n]) if item != NO_ITEM else 0.0


@kernel
def _click_probabilities(sessions, items, parameters, layout, out):
    """Fill `out` [N, M] with the probability that each candidate is clicked when it is shown alone."""
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    for n in range(len(sessions)):
        for m in range(len(sessions[n].candidates)):
            item = sessions[n].candidates[m]
            out[n, m] = 0.0
            if item != NO_ITEM:
                affinity = effective_affinity(sessions[n], items[item], p)
                out[n, m] = logistic(choice_utility(sessions[n], items[item], affinity, p))


@kernel
def _mean_scores(users, items, parameters, layout, value_weights, out):
    """Fill `out` [I, A] with the mean score over users of each item at the first age of each bin (see `REFRESH_AT`)."""
    users, items, p = SESSION(users, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    for i in range(len(items)):
        for age_bin in range(out.shape[1]):
            out[i, age_bin] = 0.0
            for n in range(len(users)):
                users[n].start_step = items[i].release_step + (2 ** (age_bin - 1) if age_bin > 0 else 0)
                out[i, age_bin] += lookahead(users[n], items[i], p, value_weights) / len(users)


def lookahead_scores(simulator: Any, value_weights: np.ndarray) -> np.ndarray:
    """[N, M] float64: scores of the candidates in a simulator's sessions, with weights [N, C]; 0 for missing ones."""
    scores = np.zeros((len(simulator.sessions), simulator.layout.num_candidates))
    simulator.adapted(_scores)(*simulator.compiled_model(), value_weights, scores)
    return scores


def click_probabilities(simulator: Any) -> np.ndarray:
    """[N, M] float64: the probability of a click on each candidate, shown alone; 0 for missing ones."""
    probabilities = np.zeros((len(simulator.sessions), simulator.layout.num_candidates))
    simulator.adapted(_click_probabilities)(*simulator.compiled_model(), probabilities)
    return probabilities


def first_sessions(world: World, chosen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Records of the first sessions of users of a world, by their indices."""
    noise_keys = generator.integers(2**63, size=len(chosen)).astype(np.uint64)
    return new_user_sessions(world.user_records, chosen, noise_keys, world.sizes, world.parameters(2), world.user_model)


class LookaheadOracle(ModelBasedReference):
    """Shows the candidate with the highest lookahead score, with the user's latent state known."""

    def with_weights(self, value_weights: ValueWeights) -> Agent:
        return LookaheadOracle(value_weights=value_weights)

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        live_simulator(self, len(episode_start))
        return self.top_candidates(self.scores(), observations["candidate_items"] != NO_ITEM)

    def scores(self) -> np.ndarray:
        """[N, M]: scores of the candidates in the sessions of the agent's env; 0 for missing ones."""
        return lookahead_scores(self.env.simulator, self.session_value_weights())

    def session_value_weights(self) -> np.ndarray:
        """[N, C] float64: the value weights in the present state of each session; here the same in all."""
        return np.tile(self.value_weights.as_array(), (len(self.env.simulator.sessions), 1))


@dataclass
class ScoredItems:
    """Mean scores of all items."""

    generator: np.random.Generator
    release_steps: np.ndarray
    """[I] int64."""
    scores: np.ndarray
    """[I, A] float64, by the bin of the age (see `REFRESH_AT`); the last bin stands for all later ones."""

    def of(self, observations: Observations) -> np.ndarray:
        """[N, M]: scores of the candidates; undefined for missing ones."""
        items = observations["candidate_items"]
        bins = REFRESH_AT[np.clip(observations["time"] - self.release_steps[items], 0, MAX_AGE)]
        return self.scores[items, np.minimum(bins, self.scores.shape[1] - 1)]


@dataclass(kw_only=True, eq=False, repr=False)
class HistoryBlindPolicy(ModelBasedReference):
    """Shows the candidate with the highest mean score over the population, without history.

    It knows the latent state of all items and of the training users: an upper reference for policies that do not
    personalise.
    """

    temperature: float = number(0.0, 0.0, math.inf)
    """In units of the score; above 0 it samples candidates from softmax(score / temperature), whether `deterministic`
    or not: users tire of the same items."""
    temperatures: Sequence[float] = (0.0, 0.3, 1.0)
    """Candidates for `temperature` in training."""
    num_users: int = count(256, 1, 10_000_000)
    """Users over whom scores are averaged."""

    state_class = ScoredItems

    def with_weights(self, value_weights: ValueWeights, temperature: float = 0.0) -> Agent:
        agent = HistoryBlindPolicy(value_weights=value_weights, temperature=temperature, num_users=self.num_users)
        agent.population = self.population
        return agent

    def tune(self, env: RecommenderVectorEnv) -> None:
        highest = -np.inf
        for temperature in self.temperatures:
            with_weights = partial(self.with_weights, temperature=temperature)
            value_weights, mean_return = best_weights(with_weights, env, self.weight_candidates)
            if mean_return > highest:
                highest, self.temperature, self.value_weights = mean_return, temperature, value_weights

    def best_params(self) -> dict[str, float]:
        return {**super().best_params(), "temperature": self.temperature}

    def initial_state(self, num_sessions: int) -> ScoredItems:
        if self.population is None:
            raise NotFittedError
        simulator, generator, scenario = self.env.simulator, self.new_generator(), self.population.scenario
        chosen = generator.integers(len(self.population.users), size=self.num_users)
        users, num_ages = first_sessions(self.population, chosen, generator), 1
        if scenario.behaviour.choice_freshness > 0.0:
            longest = min(scenario.catalog.item_lifetime, int(8 * scenario.behaviour.freshness_half_life) + 1)
            num_ages = int(REFRESH_AT[min(longest, MAX_AGE)]) + 1
        _, items, parameters, _ = simulator.compiled_model()
        model = as_bytes(users), items, parameters, make_layout(simulator.world.sizes)
        scores = np.zeros((len(items), num_ages))
        simulator.adapted(_mean_scores)(*model, self.value_weights.as_array(), scores)
        return ScoredItems(generator, self.env.catalog_release_steps, scores)

    def act(
        self, observations: Observations, state: ScoredItems, episode_start: np.ndarray, deterministic: bool
    ) -> np.ndarray:
        scores = state.of(observations)
        if self.temperature > 0.0:  # the maximum of scores with Gumbel noise is a draw from the softmax
            scores = scores + self.temperature * state.generator.gumbel(size=scores.shape)
        return self.top_candidates(scores, observations["candidate_items"] != NO_ITEM)

    def log_probabilities(
        self, observations: Observations, actions: np.ndarray, state: State = None, episode_start: Starts = None
    ) -> np.ndarray:
        if self.temperature == 0.0:
            return super().log_probabilities(observations, actions, state, episode_start)
        state = state or self.initial_state(len(actions))
        scores = np.where(observations["candidate_items"] != NO_ITEM, state.of(observations), -np.inf)
        logits = scores / self.temperature
        return logits[np.arange(len(actions)), actions] - np.logaddexp.reduce(logits, 1)

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        tensors, learned = super().learned()
        return tensors, {**learned, "temperature": self.temperature}

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        super().restore(tensors, learned)
        self.temperature = learned["temperature"]
