"""The planning oracle: it maximises the reward of a step plus the value of the latent state after it.

Approximate policy iteration (Bertsekas and Tsitsiklis, "Neuro-Dynamic Programming", 1996, chapter 6): sessions of the
current policy give the return after each step, a network is fitted to them as the value of the user's latent state
after a step, and the next policy maximises

    Q(s, a) = P(click) E[reward + V(s') | click] + (1 - P(click)) E[reward + V(s') | no click]

with the expectation over all ratings, purchases and follows (consumption without its noise). The first policy is the
lookahead oracle. The random numbers of the real session are not used.

Shape legend: N sessions, M candidates, E imagined responses of all candidates, V features of a state.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from agents.agent import NotFittedError, Observations
from agents.references.lookahead import LookaheadOracle
from agents.references.value_weights import live_simulator
from agents.rollouts.evaluation import acting_in, evaluate
from recsim_env.config import count, number
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.availability import first_item_after
from recsim_env.simulation.compilation import compiled, kernel
from recsim_env.simulation.random_streams import Purpose, combine
from recsim_env.simulation.rating_scale import rating_probability_of
from recsim_env.simulation.record_types import as_bytes
from recsim_env.simulation.records import ITEM, NO_ITEM, NUM_CUSTOM, OUTCOME, PARAMETERS, SESSION
from recsim_env.simulation.session import begin_response, end_step, record_response, respond_by_skip, respond_to_choice
from recsim_env.simulation.user_model import (
    choice_utility,
    click_value,
    consumption_logit,
    effective_affinity,
    follow_response,
    logistic,
    mean_opinion,
    purchase_probability,
    respond,
)

_SCALARS = 18 + NUM_CUSTOM
"""Features of a state besides its vectors."""

_GROUP, _NUM_GROUPS = 8, 4
"""Items by which a state is described: the best of each group stands for the best candidate."""
_POOL = 512
"""They are spread over so many items, the last ones released before the episode."""

_NUM_RESPONSES, _SMALLEST_WEIGHT = 12, 1e-4
_TUNING_SEED = 1_000_000
"""Of the sessions by which a round is chosen."""
_NUM_SESSIONS = 1_000
"""Sessions played together in training."""
_CHUNK = 64
"""Sessions whose responses are imagined together."""
_BATCH = 1_024
"""Of the fit of the value function."""
_LEARNING_RATE = 2e-3


@compiled
def describe_state(session, items, p, out):
    """Write V features of the user's latent state and the time to `out`.

    The first are expected rewards, without freshness, of items released before the episode: what the user would gain
    from such items in this state.
    """
    best_sum, total, squares, num_described = 0.0, 0.0, 0.0, _GROUP * _NUM_GROUPS
    end = max(first_item_after(items, session.first_time, 0), 1)
    size = min(end, _POOL)
    for group in range(_NUM_GROUPS):
        best = -np.inf
        for k in range(group, num_described, _NUM_GROUPS):
            item = items[end - size + k * size // num_described]
            affinity = effective_affinity(session, item, p)
            utility = choice_utility(session, item, affinity, p)
            if p.choice_freshness != 0.0:
                age = session.start_step + session.step - item.release_step
                utility -= p.choice_freshness * 0.5 ** (age / p.freshness_half_life)
            gain = logistic(utility) * click_value(session, item, affinity, p)
            best = max(best, gain)
            total += gain
            squares += gain * gain
        best_sum += best
    out[0] = best_sum / _NUM_GROUPS
    out[1] = total / num_described
    out[2] = np.sqrt(max(squares / num_described - out[1] * out[1], 0.0))
    out[3], out[4], out[5] = session.trust, session.patience, session.budget
    out[6], out[7], out[8] = session.rating_bias, session.rating_scale, session.receptiveness
    out[9], out[10], out[11] = session.satisfaction, session.habit, session.usual_patience
    out[12] = 1.0 - session.step / p.session_length
    out[13], out[14], out[15] = 0.0, 0.0, 0.0
    if p.num_days > 0:
        elapsed = session.start_step + session.step - session.first_time
        out[12] = 1.0 - elapsed / (p.num_days * p.day_length)
        out[13] = (session.step - session.visit_start) / p.visit_length
        out[14] = 1.0 if session.step == session.visit_start else 0.0
        out[15] = session.usual_budget
    out[16] = out[0] * out[12]
    out[17] = 0.0
    for c in range(len(session.follows)):
        out[17] += session.follows[c]
    for x in range(NUM_CUSTOM):
        out[_SCALARS - NUM_CUSTOM + x] = session.custom[x]
    at = _SCALARS
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
    2..6 the ratings 1..5 without, 7..11 with a change of following the creator."""
    click = logistic(choice_utility(session, item, affinity, p))
    if response == 0:
        return 1.0 - click
    purchase = purchase_probability(session, item, affinity, p) if p.is_shop else 1.0
    if response == 1:
        return click * (1.0 - purchase)
    rating = 1.0 + (response - 2) % 5
    change, liking = 0.0, (rating - 3.0) / 2.0
    if session.follows[item.creator] == 0:
        change = p.follow_probability * max(liking, 0.0)
    else:
        change = p.unfollow_probability * max(-liking, 0.0)
    noise_sd = session.rating_scale * p.rating_noise
    opinion = mean_opinion(session, affinity, p.rating_quality * item.quality, p)
    probability = click * purchase * rating_probability_of(rating, opinion, noise_sd, p)
    return probability * (change if response >= 7 else 1.0 - change)


@kernel
def _imagine(
    sessions, items, parameters, layout, scratch, outcomes, num_draws, is_sampled, places, weights, rewards, states
):
    """Simulate each response to each candidate, with its probability in `weights` [E], the `rewards` [E] and the
    `states` [E, V] after it, 0 where a session ends; `places` [E, 2] are the session and the candidate. Returns E.

    An absence is drawn `num_draws` times, the same for every candidate. With `is_sampled` the response to a click is
    drawn so often, too, as custom users may respond in other ways than by the package's distributions.
    """
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    scratch, outcome = SESSION(scratch, layout), OUTCOME(outcomes, layout)[0]
    session, e = scratch[0], 0
    for n in range(len(sessions)):
        planning_key = combine(combine(sessions[n].noise_key, sessions[n].step), Purpose.PLANNING)
        for m in range(len(sessions[n].candidates)):
            if sessions[n].candidates[m] == NO_ITEM:
                continue
            item = items[sessions[n].candidates[m]]
            affinity = effective_affinity(sessions[n], item, p)
            consumption = logistic(consumption_logit(item, affinity, p))
            for response in range(2 if is_sampled else _NUM_RESPONSES):
                weight = _response_probability(sessions[n], item, affinity, response, p)
                if is_sampled and response == 1:
                    weight = 1.0 - _response_probability(sessions[n], item, affinity, 0, p)
                if weight < _SMALLEST_WEIGHT:
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
                            rating, purchase = 1.0 + (response - 2) % 5, 1.0 if p.is_shop else 0.0
                        if response >= 7:
                            follow = 1.0 if session.follows[item.creator] == 0 else -1.0
                        record_response(
                            session, item, 0, 1, affinity, rating, consumption, purchase, follow, outcome, p
                        )
                    end_step(session, outcome, p)
                    is_random = is_sampled and response == 1
                    is_absent = p.num_days > 0 and (session.is_over or session.visit_start == session.step)
                    places[e, 0], places[e, 1], rewards[e] = n, m, outcome.reward
                    weights[e] = weight / num_draws if is_absent or is_random else weight
                    for v in range(states.shape[1]):
                        states[e, v] = 0.0
                    if not session.is_over:
                        describe_state(session, items, p, states[e])
                    e += 1
                    if not (is_absent or is_random):
                        break
    return e


class StateValue(nn.Module):
    """V(s): a network with two hidden layers over standardised features, fitted to standardised returns."""

    feature_mean: torch.Tensor
    feature_scale: torch.Tensor
    return_mean: torch.Tensor
    return_scale: torch.Tensor

    def __init__(self, num_features: int, width: int) -> None:
        super().__init__()
        self.register_buffer("feature_mean", torch.zeros(num_features))
        self.register_buffer("feature_scale", torch.ones(num_features))
        self.register_buffer("return_mean", torch.zeros(()))
        self.register_buffer("return_scale", torch.ones(()))
        self.layers = nn.Sequential(
            nn.Linear(num_features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[..., V] to [...]: standardised values."""
        return self.layers((features - self.feature_mean) / self.feature_scale)[..., 0]

    @torch.no_grad()
    def values(self, features: np.ndarray) -> np.ndarray:
        """[..., V] to [...] float64: expected returns."""
        parts = [self(part) for part in torch.from_numpy(features.reshape(-1, features.shape[-1])).split(1 << 16)]
        values = torch.cat(parts) * self.return_scale + self.return_mean
        return values.numpy().astype(np.float64).reshape(features.shape[:-1])

    def standardise(self, features: np.ndarray, returns: np.ndarray) -> None:
        """Set the scales of features [n, V] and returns [n]."""
        self.feature_mean.copy_(torch.from_numpy(features.mean(0)))
        self.feature_scale.copy_(torch.from_numpy(features.std(0)).clamp(min=1e-3))
        self.return_mean.fill_(float(returns.mean()))
        self.return_scale.fill_(max(float(returns.std()), 1e-6))

    def fit(
        self,
        features: np.ndarray,
        returns: np.ndarray,
        num_updates: int,
        learning_rate: float,
        generator: np.random.Generator,
    ) -> None:
        """Least squares on [n, V] features and [n] returns."""
        inputs = torch.from_numpy(features)
        targets = (torch.from_numpy(returns.astype(np.float32)) - self.return_mean) / self.return_scale
        optimizer = torch.optim.AdamW(self.parameters(), lr=learning_rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_updates)
        for _ in range(num_updates):
            batch = torch.from_numpy(generator.integers(len(inputs), size=_BATCH))
            optimizer.zero_grad()
            nn.functional.mse_loss(self(inputs[batch]), targets[batch]).backward()
            optimizer.step()
            schedule.step()


@dataclass(frozen=True, kw_only=True)
class _Played:
    """N sessions of T steps."""

    states: np.ndarray
    """[T, N, V] float32, after each step."""
    rewards: np.ndarray
    """[T, N] float64."""
    goes_on: np.ndarray
    """[T, N] bool: the session goes on after the step."""

    def returns(self, value: StateValue | None, trace_decay: float) -> np.ndarray:
        """[n] float64: lambda-returns from the states after which sessions go on; without `value`, whole returns."""
        returns = np.zeros(self.rewards.shape)
        for t in range(len(returns) - 2, -1, -1):
            after = trace_decay * returns[t + 1]
            if value is not None:
                after += (1.0 - trace_decay) * value.values(self.states[t + 1])
            returns[t] = self.rewards[t + 1] + after * self.goes_on[t + 1]
        return returns[self.goes_on]


@dataclass(kw_only=True, eq=False, repr=False)
class PlanningOracle(LookaheadOracle):
    """Plans with a value function of the latent state, fitted by `num_iterations` rounds of policy iteration.

    It keeps the value function with the highest mean return in sessions of its own, or the lookahead oracle's policy if
    that is higher.
    """

    num_iterations: int = count(2, 1, 1_000)
    """Rounds of policy iteration; the first improves on the lookahead oracle."""
    num_lookahead_steps: int = count(1_500_000, 1, 10**9)
    """Steps of the lookahead oracle in the first round. Returns are noisy: with few of them, errors of the value
    function cost more than planning gains."""
    num_training_steps: int = count(100_000, 1, 10**9)
    """Steps of the current policy in each later round."""
    num_draws: int = count(8, 1, 10_000)
    """Draws of each absence in a lifetime, and of each response of custom users."""
    exploration: float = number(0.1, 0.0, 1.0)
    """Share of random actions in all of these sessions, so that values hold beyond the policy's own states."""
    trace_decay: float = number(0.8, 0.0, 1.0)
    """Lambda of the returns to which the value function is fitted, which bootstrap from the one before; the first fit
    of all is to whole returns."""
    num_updates: int = count(12_000, 1, 10_000_000)
    """Gradient steps of the first fit; the later ones take less, at a quarter of the learning rate."""
    width: int = count(64, 1, 65_536)
    """Of the hidden layers of the value function."""
    _value: StateValue | None = field(default=None, init=False)

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        super().train(total_timesteps, update)
        self._value = best = None
        generator, tuning_env = self.new_generator(), self._make_env(self.num_tuning_sessions)
        envs = self._make_env(_NUM_SESSIONS)
        highest = float(evaluate(self, tuning_env, _TUNING_SEED).returns.mean())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator.integers(2**31)))
            value = StateValue(self._num_features(self.env.simulator), self.width)
        for round_number in range(self.num_iterations):
            is_first = round_number == 0
            num_steps, played = self.num_lookahead_steps if is_first else self.num_training_steps, []
            while num_steps > 0:
                seed = int(generator.integers(2**31))
                with acting_in(self, envs, seed):
                    played.append(self._play(envs, seed, generator))
                num_steps -= max(int(played[-1].goes_on.sum()), 1)
            states = np.concatenate([each.states[each.goes_on] for each in played])
            if is_first:
                returns = np.concatenate([each.returns(None, 1.0) for each in played])
                value.standardise(states, returns)
                value.fit(states, returns, self.num_updates, _LEARNING_RATE, generator)
            returns = np.concatenate([each.returns(value, self.trace_decay) for each in played])
            value.fit(states, returns, -(-self.num_updates // (2 if is_first else 8)), _LEARNING_RATE / 4.0, generator)
            self._value = value
            mean_return = float(evaluate(self, tuning_env, _TUNING_SEED).returns.mean())
            if mean_return > highest:
                highest, best = mean_return, copy.deepcopy(value)
        self._value = best

    def _make_env(self, num_sessions: int) -> RecommenderVectorEnv:
        env: RecommenderVectorEnv = self.env.remake(num_envs=num_sessions, observation=self.observation)
        return env

    def _play(self, envs: RecommenderVectorEnv, seed: int, generator: np.random.Generator) -> "_Played":
        """Sessions of the current policy, with random actions among them."""
        observations, _ = envs.reset(seed=seed)
        is_running, states, rewards, continues = np.ones(envs.num_envs, np.bool_), [], [], []
        while is_running.any():
            actions = self.act(observations, None, is_running, True)
            is_random = generator.random(envs.num_envs) < self.exploration
            exists = observations["candidate_items"] != NO_ITEM
            draws = np.where(exists, generator.random(exists.shape), -1.0).argmax(1)
            observations, reward, terminated, truncated, _ = envs.step(np.where(is_random, draws, actions))
            rewards.append(reward / envs.simulator.config.reward_scale * is_running)
            is_running = is_running & ~(terminated | truncated)
            continues.append(is_running)
            states.append(self._described(envs))
        return _Played(states=np.stack(states), rewards=np.stack(rewards), goes_on=np.stack(continues))

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        if self._value is None:
            return super().act(observations, state, episode_start, deterministic)
        live_simulator(self, len(episode_start))
        return self.top_candidates(self.action_values(), observations["candidate_items"] != NO_ITEM)

    def action_values(self) -> np.ndarray:
        """[N, M]: expected reward of the step plus value of the state after it, for each candidate of the env."""
        if self._value is None:
            raise NotFittedError
        simulator = self.env.simulator
        sessions, *model = simulator.compiled_model()
        imagine = simulator.adapted(_imagine)
        is_sampled = any(simulator.adapted(function) is not function for function in (respond, follow_response))
        num_draws = self.num_draws if is_sampled or simulator.world.scenario.lifetime.num_days > 0 else 1
        size = _CHUNK * self.layout.num_candidates * _NUM_RESPONSES * num_draws
        places, weights, rewards = np.zeros((size, 2), np.int64), np.zeros(size), np.zeros(size)
        states = np.zeros((size, self._num_features(simulator)), np.float32)
        buffers = np.zeros_like(sessions[:1]), as_bytes(np.zeros(1, OUTCOME.head))
        action_values = np.zeros((len(sessions), self.layout.num_candidates))
        for start in range(0, len(sessions), _CHUNK):
            chunk = sessions[start : start + _CHUNK]
            end = imagine(chunk, *model, *buffers, num_draws, is_sampled, places, weights, rewards, states)
            values = np.where(states[:end].any(1), self._value.values(states[:end]), 0.0)
            of_chunk = action_values[start : start + _CHUNK]
            np.add.at(of_chunk, (places[:end, 0], places[:end, 1]), weights[:end] * (rewards[:end] + values))
        return action_values

    def _described(self, envs: RecommenderVectorEnv) -> np.ndarray:
        """[N, V] float32: the states of all sessions."""
        simulator = envs.simulator
        states = np.zeros((len(simulator), self._num_features(simulator)), np.float32)
        describe = simulator.adapted(_describe_states)
        describe(*simulator.compiled_model(), states)
        return states

    @staticmethod
    def _num_features(simulator: Any) -> int:
        sizes = simulator.world.sizes
        return _SCALARS + sizes.num_factors + sizes.num_topics + sizes.num_creators + sizes.num_moods

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        _, learned = super().learned()
        if self._value is None:
            return {}, learned
        return {name: tensor.numpy() for name, tensor in self._value.state_dict().items()}, learned

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        super().restore(tensors, learned)
        if not tensors:
            return
        self._value = StateValue(len(tensors["feature_mean"]), self.width)
        self._value.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in tensors.items()})
