"""From steps of an env to the input of estimators: whole sessions, an agent's probabilities, means of features."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

import agents
from agents.agent import Agent
from agents.off_policy import direct_method, ips, per_decision
from agents.off_policy.fitted_q import fit
from benchmarks.running.policy_log import policy_log

NUM_ENVS, LENGTH = 40, 3


def make_env(**arguments: Any) -> Any:
    options = {"observation": "full", "max_episode_steps": LENGTH, "autoreset_mode": "SameStep", **arguments}
    return gymnasium.make_vec("recsim_env/Video-v0", NUM_ENVS, vectorization_mode="vector_entry_point", **options)


@dataclass(kw_only=True, eq=False, repr=False)
class Softmax(Agent):
    """A softmax of the first candidates' positions, with a memory of the steps that it has seen."""

    strength: float = 0.3

    def initial_state(self, num_sessions: int) -> Any:
        return SimpleNamespace(generator=self.new_generator(), steps_seen=np.zeros(num_sessions, int))

    def act(self, observations: Any, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        state.steps_seen = np.where(episode_start, 0, state.steps_seen) + 1
        logits = self._logits(observations)
        return self.top_candidates(logits + state.generator.gumbel(size=logits.shape), observations["candidate_mask"])

    def _logits(self, observations: Any) -> np.ndarray:
        mask = observations["candidate_mask"]
        return np.where(mask > 0, -self.strength * np.arange(mask.shape[1]), -np.inf)

    def log_probabilities(
        self, observations: Any, actions: np.ndarray, state: Any = None, episode_start: Any = None
    ) -> np.ndarray:
        logits = self._logits(observations)
        return np.take_along_axis(logits, actions[:, None], 1)[:, 0] - np.logaddexp.reduce(logits, 1)


def played(env: Any, agent: Agent, num_steps: int, seed: int = 0) -> Iterator[SimpleNamespace]:
    """The steps of an agent, as a replayed log has them."""
    observations, _ = env.reset(seed=seed)
    starts, state = np.ones(env.num_envs, bool), None
    for _ in range(num_steps):
        actions, state = agent.predict(observations, state, starts, deterministic=False)
        propensities = agent.log_probabilities(observations, actions)
        following, rewards, terminated, truncated, _ = env.step(actions)
        yield SimpleNamespace(
            observations=observations,
            actions=actions,
            log_propensities=propensities,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            episode_start=starts,
        )
        observations, starts = following, terminated | truncated


def test_the_logging_agent_itself_has_weights_of_one_and_the_mean_return():
    env = make_env()
    agent = Softmax(env=env)
    steps = list(played(env, agent, 10))
    found = policy_log(steps, agent)
    assert found.log.weights == pytest.approx(1.0)
    ended = np.sum([step.terminated | step.truncated for step in steps])
    assert found.log.num_sessions == ended
    assert found.log.lengths.max() == LENGTH
    assert len(found.log.steps) + found.num_dropped_rows == 10 * NUM_ENVS
    assert 0 < found.num_dropped_rows <= LENGTH * NUM_ENVS


def test_sessions_of_a_lane_are_kept_apart_and_in_order():
    env = make_env()
    steps = list(played(env, Softmax(env=env), 2 * LENGTH))
    found = policy_log(steps, Softmax(env=env))
    rewards = np.array([step.rewards for step in steps])
    is_over = np.array([step.terminated | step.truncated for step in steps])
    first_end = int(is_over[:, 0].argmax())
    assert found.log.rewards[: first_end + 1] == pytest.approx(rewards[: first_end + 1, 0])
    kept = sum(rewards[: int(np.flatnonzero(is_over[:, lane])[-1]) + 1, lane].sum() for lane in range(NUM_ENVS))
    assert found.log.rewards.sum() == pytest.approx(kept)


def test_the_estimate_for_another_agent_is_its_own_return():
    env = make_env(max_episode_steps=1)
    found = ips(policy_log(played(env, agents.make("random", env), 250), Softmax(env=env)).log)
    truth = [step.rewards for step in played(env, Softmax(env=env), 250, seed=10_000)]
    error = np.std(truth) / np.sqrt(np.size(truth))
    assert abs(found.value - np.mean(truth)) < 1.5 * (found.high - found.value) + 3.0 * error


def test_features_are_those_of_the_action_and_their_mean_over_the_agents_actions():
    env = make_env(max_episode_steps=1)
    agent = Softmax(env=env)
    (step,) = steps = list(played(env, agents.make("random", env), 1))
    found = policy_log(steps, agent)
    candidates = agent.candidates(step.observations)
    width = candidates.shape[2]
    probabilities = np.exp(agent._logits(step.observations))
    probabilities /= probabilities.sum(1, keepdims=True)
    chosen = candidates[np.arange(NUM_ENVS), step.actions]
    assert found.features[:, -width:] == pytest.approx(chosen, abs=1e-6)
    expected = (probabilities[:, :, None] * candidates).sum(1)
    assert found.policy_features[:, -width:] == pytest.approx(expected, abs=1e-5)
    assert found.features[:, :-width] == pytest.approx(found.policy_features[:, :-width])
    assert found.features[:, 0] == pytest.approx(1.0)
    values = fit(found.log, found.features, found.policy_features)
    assert np.isfinite(direct_method(found.log.with_values(*values)).value)


@dataclass(kw_only=True, eq=False, repr=False)
class SureLater(Softmax):
    """Uniform in the first step of a session, and sure of the first candidate later; it has to remember the step."""

    def log_probabilities(
        self, observations: Any, actions: np.ndarray, state: Any = None, episode_start: Any = None
    ) -> np.ndarray:
        is_later = np.zeros(len(actions), bool) if state is None else (state.steps_seen > 0) & ~episode_start
        uniform = -np.log((observations["candidate_mask"] > 0).sum(1))
        return np.where(is_later, np.where(actions == 0, 0.0, -np.inf), uniform)


def test_an_agent_with_a_memory_is_shown_every_step():
    env = make_env()
    found = policy_log(played(env, agents.make("random", env), 3 * LENGTH), SureLater(env=env)).log
    is_first = found.steps == 0
    assert found.evaluation_log_probabilities[is_first] == pytest.approx(-np.log(20.0))
    assert np.isin(found.evaluation_log_probabilities[~is_first], [0.0, -np.inf]).all()
    assert per_decision(found).effective_sample_size < found.num_sessions


@dataclass(kw_only=True, eq=False, repr=False)
class FlatUniform(Agent):
    """Uniform, from flat observations."""

    observation = "flat"

    def act(self, observations: Any, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        return np.zeros(len(observations), int)

    def log_probabilities(
        self, observations: Any, actions: np.ndarray, state: Any = None, episode_start: Any = None
    ) -> np.ndarray:
        return np.full(len(actions), -np.log(20.0))


def test_flat_observations_have_the_same_features_as_those_in_parts():
    env = make_env(observation="flat")
    agent = FlatUniform(env=env)
    found = policy_log(played(env, agent, LENGTH), agent)
    assert found.log.weights == pytest.approx(1.0)
    assert found.features.shape[1] == 1 + 4 + 3 + 3


@dataclass(kw_only=True, eq=False, repr=False)
class CompactUniform(FlatUniform):
    """Uniform, from compact observations."""

    observation = "compact"

    def act(self, observations: Any, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        return np.zeros(len(observations["user"]), int)


def test_compact_observations_take_their_features_from_the_same_steps_with_others():
    agents_of = {kind: agent_class(env=make_env(observation=kind)) for kind, agent_class in UNIFORM.items()}
    steps = {kind: list(played(agent.env, agent, LENGTH)) for kind, agent in agents_of.items()}
    assert policy_log(steps["compact"], agents_of["compact"]).features is None
    found = policy_log(steps["compact"], agents_of["compact"], steps["dict"])
    expected = policy_log(steps["flat"], agents_of["flat"])
    assert found.log.rewards == pytest.approx(expected.log.rewards)
    assert found.policy_features == pytest.approx(expected.policy_features)


@dataclass(kw_only=True, eq=False, repr=False)
class DictUniform(CompactUniform):
    observation = "dict"


UNIFORM = {"flat": FlatUniform, "compact": CompactUniform, "dict": DictUniform}


def test_slates_have_no_features_but_weights():
    env = make_env(slate_size=2)
    agent = agents.make("random", env)
    found = policy_log(played(env, agent, LENGTH), agent)
    assert found.features is None
    assert found.log.behaviour_log_probabilities == pytest.approx(-np.log(20.0 * 19.0))
    assert found.log.weights == pytest.approx(1.0)


@dataclass(kw_only=True, eq=False, repr=False)
class TooSure(Softmax):
    def log_probabilities(
        self, observations: Any, actions: np.ndarray, state: Any = None, episode_start: Any = None
    ) -> np.ndarray:
        return super().log_probabilities(observations, actions, state, episode_start) - 0.5


def test_what_cannot_be_evaluated_is_refused_in_one_line():
    env = make_env()
    agent = Softmax(env=env)
    steps = list(played(env, agent, LENGTH))
    with pytest.raises(NotImplementedError, match="PopularityAgent: has no action probabilities"):
        policy_log(steps, agents.make("popularity", env))
    with pytest.raises(ValueError, match=r"TooSure\.log_probabilities: .* of the candidates add up to 0\.607"):
        policy_log(steps, TooSure(env=env))
    with pytest.raises(ValueError, match="the log is empty"):
        policy_log([], agent)
    with pytest.raises(ValueError, match=f"no session ends within the {NUM_ENVS} rows"):
        policy_log([SimpleNamespace(**{**vars(steps[0]), "terminated": np.zeros(NUM_ENVS, bool)})], agent)
    for step in steps:
        step.log_propensities = np.full(NUM_ENVS, np.nan)
    with pytest.raises(ValueError, match=r"propensities of \d+ of \d+ rows are unknown"):
        policy_log(steps, agent)
