"""The planning oracle: it maximises the reward of a step plus the value of the latent state after it.

It starts from the lookahead oracle, with the known model. First, policy search: the weight of each consequence of a
step may depend on the state, as trust is worth more to distrustful users and nothing in the last step. Then, in single
visits, policy improvement: sessions of that policy give the value of the user's latent state after a step, as a linear
function of its features by least-squares temporal differences, LSTD(lambda) (Boyan, "Technical update: least-squares
temporal difference learning", Machine Learning 2002), and the planning oracle maximises

    Q(s, a) = P(click) E[reward + V(s') | click] + (1 - P(click)) E[reward + V(s') | no click]

with the expectation over all ratings, purchases and follows (consumption without its noise). The random numbers of the
real session are not used.

Shape legend: N sessions, M candidates, C consequences, K conditions of their weights, V features of a state, F terms
of its value.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.agent import NotFittedError, Observations
from agents.references.lookahead import LookaheadOracle
from agents.references.pattern_search import pattern_search
from agents.references.value_weights import VALUE_WEIGHTS, ValueWeights, live_simulator
from agents.rollouts.evaluation import acting_in, evaluate
from recsim_env.config import count, number
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.compilation import compiled, kernel
from recsim_env.simulation.random_streams import Purpose, combine
from recsim_env.simulation.rating_scale import level_probability_of
from recsim_env.simulation.record_types import as_bytes
from recsim_env.simulation.records import ITEM, NO_ITEM, NUM_CUSTOM, OUTCOME, PARAMETERS, SESSION
from recsim_env.simulation.session import begin_response, end_step, record_response, respond_by_skip, respond_to_choice
from recsim_env.simulation.user_model import (
    choice_utility,
    consumption_logit,
    effective_affinity,
    follow_response,
    logistic,
    mean_opinion,
    purchase_probability,
    respond,
)

_SCALARS, _REMAINING = 14, 11
"""Features of a state besides its vectors; one of them is the remaining time."""

_NUM_DESCRIBED, _FEW, _MANY = 64, 4, 16
"""Items whose affinity describes a state, and sizes of groups of them."""

_SMALLEST_PROBABILITY = 1e-4
_LARGEST = 5.0
"""Bound on a standardised feature, as terms are quadratic."""
_SMALLEST_SD = 1e-6
"""Features that vary less are constant."""
_RIDGE = 1e-6
"""Ridge of LSTD, per step."""
_TUNING_SEED, _SEARCH_SEED = 1_000_000, 2_000_000
"""Of the sessions by which an improvement is kept, and of those in which it is searched."""
_NUM_SESSIONS = 1_000
"""Sessions played together in training."""

CONDITIONS = ("always", "remaining time", "trust", "satisfaction", "remaining visit")
"""What the value weights may depend on; the last one in lifetimes only."""
_SEARCH_STEPS = {"trust": 4.0, "click": 0.5, "satiation": 0.3, "consumption": 0.5, "interests": 5.0}
"""First steps in the search of value weights; 1 for the others."""
_CENTRE = 0.5
"""Of remaining times and trust, so that the other weights hold in the middle of their range."""


@compiled
def describe_state(session, items, p, out):
    """Write V features of the user's latent state and the time to `out`.

    The first summarise the affinity with items spread over the catalogue, satiation included: the mean, and the mean of
    the highest in groups of two sizes, as the best of many candidates are shown. Then the probability of clicking such
    a best item.
    """
    total, highest_of_few, best_of_few, highest_of_many, best_of_many = 0.0, -np.inf, 0.0, -np.inf, 0.0
    for k in range(_NUM_DESCRIBED):
        affinity = effective_affinity(session, items[k * len(items) // _NUM_DESCRIBED], p)
        total += affinity
        highest_of_few, highest_of_many = max(highest_of_few, affinity), max(highest_of_many, affinity)
        if (k + 1) % _FEW == 0:
            best_of_few += highest_of_few
            highest_of_few = -np.inf
        if (k + 1) % _MANY == 0:
            best_of_many += highest_of_many
            highest_of_many = -np.inf
    out[0] = best_of_many * _MANY / _NUM_DESCRIBED
    out[1] = best_of_few * _FEW / _NUM_DESCRIBED
    out[2] = total / _NUM_DESCRIBED
    out[3], out[4], out[5] = session.trust, session.patience, session.budget
    out[6], out[7], out[8] = session.rating_bias, session.rating_scale, session.receptiveness
    out[9], out[10] = session.satisfaction, session.usual_patience
    out[_REMAINING] = 1.0 - session.step / p.session_length
    distrust = p.choice_distrust * (1.0 - session.trust)
    out[12] = logistic(p.choice_intercept + p.choice_affinity * out[0] - distrust)
    out[13] = 0.0
    for c in range(len(session.follows)):
        out[13] += session.follows[c]
    at = _SCALARS
    for x in range(NUM_CUSTOM):
        out[at + x] = session.custom[x]
    at += NUM_CUSTOM
    for d in range(len(session.interests)):
        out[at + d] = session.interests[d]
    at += len(session.interests)
    for k in range(len(session.satiation)):
        out[at + k] = session.satiation[k]
    at += len(session.satiation)
    for c in range(len(session.follows)):
        out[at + c] = session.follows[c]
    at += len(session.follows)
    for mood in range(len(p.moods)):
        out[at + mood] = 1.0 if session.mood == mood else 0.0


@kernel
def _describe_states(sessions, items, parameters, layout, out):
    """Fill `out` [N, V]."""
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    for n in range(len(sessions)):
        describe_state(sessions[n], items, p, out[n])


@compiled
def _response_probability(session, item, affinity, response, p):
    """Probability of a response to an item that is shown alone: 0 no click, 1 a click without a purchase in a shop,
    then the ratings without, and the ratings with a change of following the creator."""
    click = logistic(choice_utility(session, item, affinity, p))
    if response == 0:
        return 1.0 - click
    purchase = purchase_probability(session, item, affinity, p) if p.is_shop else 1.0
    if response == 1:
        return click * (1.0 - purchase)
    level = (response - 2) % p.num_rating_levels
    change, liking = 0.0, (p.rating_levels[level] - 3.0) / 2.0
    if session.follows[item.creator] == 0:
        change = p.follow_probability * max(liking, 0.0)
    else:
        change = p.unfollow_probability * max(-liking, 0.0)
    noise_sd = session.rating_scale * p.rating_noise
    opinion = mean_opinion(session, affinity, p.rating_quality * item.quality, p)
    probability = click * purchase * level_probability_of(level, opinion, noise_sd, p)
    return probability * (change if response >= 2 + p.num_rating_levels else 1.0 - change)


@compiled
def write_terms(state, mean, inverse_scale, out):
    """Write the F terms of a state's value: 1, its standardised features, the products of two scalars, the squares of
    the entries of vectors, and all of these multiplied by the remaining time."""
    out[0], num_features, at = 1.0, len(state), len(state) + 1
    for v in range(num_features):
        out[1 + v] = min(max((state[v] - mean[v]) * inverse_scale[v], -_LARGEST), _LARGEST)
    for v in range(_SCALARS):
        for other in range(v, _SCALARS):
            out[at] = out[1 + v] * out[1 + other]
            at += 1
    for v in range(_SCALARS, num_features):
        out[at] = out[1 + v] * out[1 + v]
        at += 1
    for f in range(at):
        out[at + f] = out[f] * state[_REMAINING]


def _num_terms(num_features: int) -> int:
    return 2 * (1 + 2 * num_features + _SCALARS * (_SCALARS - 1) // 2)


@kernel
def _write_all_terms(states, mean, inverse_scale, out):
    """Fill `out` [n, F] for `states` [n, V]."""
    for n in range(len(states)):
        write_terms(states[n], mean, inverse_scale, out[n])


@kernel
def _action_values(
    sessions, items, parameters, layout, scratch, outcomes, num_draws, is_sampled, mean, inverse_scale, weights, out
):
    """Fill `out` [N, M] with the expected reward of the step plus value of the state after it, for each candidate.

    With `is_sampled` the response to a click is drawn `num_draws` times, as custom users may respond in other ways than
    by the package's distributions.
    """
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    scratch, outcome = SESSION(scratch, layout), OUTCOME(outcomes, layout)[0]
    state, terms, session = np.zeros(len(mean)), np.zeros(len(weights)), scratch[0]
    for n in range(len(sessions)):
        planning_key = combine(combine(sessions[n].noise_key, sessions[n].step), Purpose.PLANNING)
        for m in range(len(sessions[n].candidates)):
            out[n, m] = 0.0
            if sessions[n].candidates[m] == NO_ITEM:
                continue
            item = items[sessions[n].candidates[m]]
            affinity = effective_affinity(sessions[n], item, p)
            consumption = logistic(consumption_logit(item, affinity, p))
            for response in range(2 if is_sampled else 2 + 2 * p.num_rating_levels):
                probability = _response_probability(sessions[n], item, affinity, response, p)
                if is_sampled and response == 1:
                    probability = 1.0 - _response_probability(sessions[n], item, affinity, 0, p)
                if probability < _SMALLEST_PROBABILITY:
                    continue
                for draw in range(num_draws):
                    scratch[0] = sessions[n]
                    session.noise_key = combine(combine(planning_key, draw), Purpose.NOISE_KEY)
                    begin_response(session, 1, outcome)
                    if response == 0:
                        respond_by_skip(session, p)
                    elif is_sampled:
                        respond_to_choice(session, item, 0, 1, outcome, p)
                    else:
                        rating, purchase, follow = 0.0, 0.0, 0.0
                        if response > 1:
                            rating = p.rating_levels[(response - 2) % p.num_rating_levels]
                            purchase = 1.0 if p.is_shop else 0.0
                        if response >= 2 + p.num_rating_levels:
                            follow = 1.0 if session.follows[item.creator] == 0 else -1.0
                        record_response(
                            session, item, 0, 1, affinity, rating, consumption, purchase, follow, outcome, p
                        )
                    end_step(session, outcome, p)
                    is_drawn = is_sampled and response == 1
                    value = outcome.reward
                    if not session.is_over:
                        describe_state(session, items, p, state)
                        write_terms(state, mean, inverse_scale, terms)
                        for f in range(len(weights)):
                            value += weights[f] * terms[f]
                    out[n, m] += probability * value / (num_draws if is_drawn else 1)
                    if not is_drawn:
                        break


@dataclass(frozen=True, kw_only=True)
class StateValue:
    """V(s) = weights . terms(s): see `write_terms`."""

    mean: np.ndarray
    """[V] float64: of the features."""
    inverse_scale: np.ndarray
    """[V] float64: 1 / standard deviation of the features; 0 for constant ones."""
    weights: np.ndarray
    """[F] float64."""

    @staticmethod
    def of_states(states: np.ndarray) -> "StateValue":
        """The value 0, with the scales of the features of some states [n, V]."""
        mean, sd = states.mean(0, np.float64), states.std(0, dtype=np.float64)
        inverse_scale = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > _SMALLEST_SD)
        return StateValue(mean=mean, inverse_scale=inverse_scale, weights=np.zeros(_num_terms(len(mean))))

    def terms(self, states: np.ndarray) -> np.ndarray:
        """[n, V] to [n, F] float64."""
        out = np.zeros((len(states), len(self.weights)))
        _write_all_terms(np.asarray(states, np.float64), self.mean, self.inverse_scale, out)
        return out

    def values(self, states: np.ndarray) -> np.ndarray:
        """[n, V] to [n] float64: expected returns."""
        return self.terms(states) @ self.weights


class TemporalDifferences:
    """The sums of LSTD(lambda) over sessions that are played side by side."""

    def __init__(self, value: StateValue, trace_decay: float) -> None:
        num_terms = len(value.weights)
        self.value, self.trace_decay, self.num_steps = value, trace_decay, 0
        self.matrix, self.vector = np.zeros((num_terms, num_terms)), np.zeros(num_terms)
        self._terms, self._traces = np.zeros((0, num_terms)), np.zeros((0, num_terms))

    def add(self, rewards: np.ndarray, states: np.ndarray, goes_on: np.ndarray) -> None:
        """Add a step of N sessions: `rewards` [N], the `states` [N, V] after it, and whether they go on [N] after it.

        The first step of new sessions has no state before it: begin them with `restart`.
        """
        terms = self.value.terms(states) * goes_on[:, None]
        if len(self._terms):
            self.matrix += self._traces.T @ (self._terms - terms)
            self.vector += self._traces.T @ rewards
        else:
            self._traces = np.zeros_like(terms)
        self._traces = (self.trace_decay * self._traces + terms) * goes_on[:, None]
        self._terms = terms
        self.num_steps += int(goes_on.sum())

    def restart(self) -> None:
        """Begin new sessions."""
        self._terms, self._traces = self._terms[:0], self._traces[:0]

    def solution(self) -> StateValue:
        """The value whose temporal differences are 0 in the mean, with a ridge for terms that hardly vary."""
        ridge = _RIDGE * max(self.num_steps, 1) * np.eye(len(self.matrix))
        return dataclasses.replace(self.value, weights=np.linalg.solve(self.matrix + ridge, self.vector))


@dataclass(kw_only=True, eq=False, repr=False)
class PlanningOracle(LookaheadOracle):
    """Searches value weights that depend on the state, then plans one step ahead with that policy's value function.

    It keeps the first policy if planning does not raise the mean return in sessions of its own, and in lifetimes, where
    it has lowered returns. So have further rounds of policy iteration: errors of the value function cost more than they
    gain.
    """

    num_search_rounds: int = count(1, 0, 1_000)
    """Rounds of the search of value weights."""
    num_search_sessions: int = count(300, 1, 1_000_000)
    """Sessions in which each of their values is tried."""
    num_value_steps: int = count(500_000, 1, 10**9)
    """Steps of the policy found to which the value function is fitted."""
    num_draws: int = count(8, 1, 10_000)
    """Draws of each response of custom users."""
    exploration: float = number(0.05, 0.0, 1.0)
    """Share of random actions in all of these sessions, so that values hold beyond the policy's own states."""
    trace_decay: float = number(0.5, 0.0, 1.0)
    """Lambda of LSTD: with 1, values are fitted to whole returns, whose noise costs more than planning gains."""
    _plan: np.ndarray = field(default_factory=lambda: np.zeros((len(CONDITIONS), len(VALUE_WEIGHTS))), init=False)
    """[K, C] float64: weight of each consequence under each condition, besides `value_weights`."""
    _value: StateValue | None = field(default=None, init=False)

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        super().train(total_timesteps, update)
        self._value = None
        self._search_plan()
        if self.env.simulator.world.scenario.lifetime.num_days == 0:
            self._improve_policy()

    def _improve_policy(self) -> None:
        """Fit the value function, and keep it if it raises the mean return."""
        generator, tuning_env = self.new_generator(), self._make_env(self.num_tuning_sessions)
        envs, first = self._make_env(_NUM_SESSIONS), []
        self._play(envs, generator, lambda rewards, states, goes_on: first.append(states[goes_on]))
        differences = TemporalDifferences(StateValue.of_states(np.concatenate(first)), self.trace_decay)
        while differences.num_steps < self.num_value_steps:
            self._play(envs, generator, differences.add)
            differences.restart()
        without = float(evaluate(self, tuning_env, _TUNING_SEED).returns.mean())
        self._value = differences.solution()
        if float(evaluate(self, tuning_env, _TUNING_SEED).returns.mean()) <= without:
            self._value = None

    def _search_plan(self) -> None:
        """Search the plan with the highest mean return, and keep it if it raises that of other sessions, too."""
        scenario, envs = self.env.simulator.world.scenario, self._make_env(self.num_search_sessions)
        relevant, steps = ValueWeights.relevant_in(scenario), np.zeros((len(CONDITIONS), len(VALUE_WEIGHTS)))
        for c, name in enumerate(VALUE_WEIGHTS):
            steps[:, c] = _SEARCH_STEPS.get(name, 1.0) if name in relevant else 0.0
        if scenario.lifetime.num_days == 0:
            steps[-1] = 0.0

        def returns_at(plan: np.ndarray, seed: int = _SEARCH_SEED) -> np.ndarray:
            self._plan = plan
            return evaluate(self, envs, seed).returns

        nothing = np.zeros_like(steps)
        found = pattern_search(returns_at, nothing, steps, self.num_search_rounds)
        is_better = returns_at(found, _TUNING_SEED).mean() > returns_at(nothing, _TUNING_SEED).mean()
        self._plan = found if is_better else nothing

    def session_value_weights(self) -> np.ndarray:
        sessions, scenario = self.env.simulator.sessions, self.env.simulator.world.scenario
        lifetime, conditions = scenario.lifetime, np.zeros((len(sessions), len(CONDITIONS)))
        step = sessions["step"].astype(np.float64)
        elapsed = step / self.env.simulator.config.session_length
        if lifetime.num_days > 0:
            time = sessions["start_step"] + step - sessions["first_time"]
            elapsed = time / (lifetime.num_days * lifetime.day_length)
            conditions[:, 4] = _CENTRE - (step - sessions["visit_start"]) / lifetime.visit_length
        conditions[:, 0], conditions[:, 1] = 1.0, _CENTRE - elapsed
        conditions[:, 2], conditions[:, 3] = sessions["trust"] - _CENTRE, sessions["satisfaction"]
        return super().session_value_weights() + conditions @ self._plan

    def _make_env(self, num_sessions: int) -> RecommenderVectorEnv:
        env: RecommenderVectorEnv = self.env.remake(num_envs=num_sessions, observation=self.observation)
        return self.closed_after_training(env)

    def _play(self, envs: RecommenderVectorEnv, generator: np.random.Generator, add: Callable[..., None]) -> None:
        """One session in each lane of the current policy, with random actions among them; `add` gets each step."""
        seed = int(generator.integers(2**31))
        with acting_in(self, envs, seed):
            observations, _ = envs.reset(seed=seed)
            is_running = np.ones(envs.num_envs, np.bool_)
            while is_running.any():
                actions = self.act(observations, None, is_running, True)
                is_random = generator.random(envs.num_envs) < self.exploration
                exists = observations["candidate_items"] != NO_ITEM
                draws = np.where(exists, generator.random(exists.shape), -1.0).argmax(1)
                observations, rewards, terminated, truncated, _ = envs.step(np.where(is_random, draws, actions))
                rewards = rewards / envs.simulator.config.reward_scale * is_running
                is_running = is_running & ~(terminated | truncated)
                add(rewards, self._states_of(envs.simulator), is_running)

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        if self._value is None:
            return super().act(observations, state, episode_start, deterministic)
        live_simulator(self, len(episode_start))
        return self.top_candidates(self.action_values(), observations["candidate_items"] != NO_ITEM)

    def action_values(self) -> np.ndarray:
        """[N, M]: expected reward of the step plus value of the state after it, for each candidate of the env."""
        if self._value is None:
            raise NotFittedError
        simulator, value = self.env.simulator, self._value
        sessions, *model = simulator.compiled_model()
        is_sampled = any(simulator.adapted(function) is not function for function in (respond, follow_response))
        buffers = np.zeros_like(sessions[:1]), as_bytes(np.zeros(1, OUTCOME.head))
        action_values = np.zeros((len(sessions), self.layout.num_candidates))
        simulator.adapted(_action_values)(
            *(sessions, *model, *buffers, self.num_draws, is_sampled),
            *(value.mean, value.inverse_scale, value.weights, action_values),
        )
        return action_values

    @staticmethod
    def _states_of(simulator: Any) -> np.ndarray:
        """[N, V] float64: the states of all sessions."""
        sizes = simulator.world.sizes
        num_vectors = NUM_CUSTOM + sizes.num_factors + sizes.num_topics + sizes.num_creators + sizes.num_moods
        states = np.zeros((len(simulator), _SCALARS + num_vectors))
        simulator.adapted(_describe_states)(*simulator.compiled_model(), states)
        return states

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        _, learned = super().learned()
        value = {} if self._value is None else dataclasses.asdict(self._value)
        return {"plan": self._plan, **value}, learned

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        super().restore(tensors, learned)
        self._plan = tensors["plan"]
        value = {name: tensor for name, tensor in tensors.items() if name != "plan"}
        self._value = StateValue(**value) if value else None
