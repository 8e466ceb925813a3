"""Every kind of learner finds the values and the best actions of the probe environments."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from probe_environments import PROBES, ProbeVectorEnv, first_observations

from agents.agent import Learner
from agents.reinforcement.pqn import PQN
from agents.reinforcement.sb3 import SB3Learner
from agents.reinforcement.slate_q import SlateQ

GAMMA = 0.6
"""Now is better than later in `now-or-later`, 2 > 3 * 0.6, and would not be without a discount."""

TOLERANCE = 0.25

SB3: dict[str, Any] = {"reward_scale": 1.0, "learning_rate": 1e-2, "gamma": GAMMA}
REPLAY = {"learning_starts": 256, "batch_size": 64, "train_freq": 1, "gradient_steps": 1}
OURS: dict[str, Any] = {
    "rollout_length": 4,
    "batch_size": 64,
    "learning_rate": 1e-2,
    "gamma": GAMMA,
    "exploration_fraction": 0.5,
}

Tensors = dict[str, torch.Tensor]


def q_of_dqn(learner: Any, observations: Tensors) -> torch.Tensor:
    return learner.model.q_net(observations)


def value_of_ppo(learner: Any, observations: Tensors) -> torch.Tensor:
    return learner.model.policy.predict_values(observations)


def q_of_sac(learner: Any, observations: Tensors) -> torch.Tensor:
    """Of showing each candidate: of the point where it lies."""
    contents = observations["candidates"].unflatten(1, (observations["candidate_mask"].shape[1], -1))[:, :, 0]
    return torch.cat([learner.model.critic(observations, point[:, None])[0] for point in contents.T], 1)


def q_of_pqn(learner: Any, observations: Tensors) -> torch.Tensor:
    return learner.q_values(observations)


def q_of_slate_q(learner: Any, observations: Tensors) -> torch.Tensor:
    values = learner.choice_values(observations)
    return torch.stack([values.of(item.expand(len(values.mask), 1)) for item in torch.arange(2)[:, None]], 1)


Q = Callable[[Any, Tensors], torch.Tensor]

LEARNERS: dict[str, tuple[Callable[[Any], Learner], Q, int, int]] = {
    "PPO": (
        lambda env: SB3Learner(env, algorithm="PPO", **SB3, n_steps=8, batch_size=64, n_epochs=4, gae_lambda=0.8),
        value_of_ppo,
        32,
        1_792,
    ),
    "DQN": (
        lambda env: SB3Learner(
            env, algorithm="DQN", **SB3, **REPLAY, target_update_interval=200, exploration_fraction=0.5
        ),
        q_of_dqn,
        16,
        1_600,
    ),
    "SAC": (
        lambda env: SB3Learner(env, algorithm="SAC", **SB3, **REPLAY, ent_coef=0.01, tau=0.1),
        q_of_sac,
        16,
        1_600,
    ),
    "PQN": (lambda env: PQN(env, **OURS, num_epochs=4), q_of_pqn, 32, 2_048),
    "SlateQ": (lambda env: SlateQ(env, **OURS, num_epochs=3), q_of_slate_q, 32, 2_048),
}
"""Of each: its constructor, the values of first actions, sessions side by side, and steps of training."""


def trained(name: str, probe: str, **arguments: Any) -> tuple[Any, Q]:
    make, values_of, num_envs, num_steps = LEARNERS[name]
    env = ProbeVectorEnv(num_envs, probe=probe, action="content" if name == "SAC" else "candidate", **arguments)
    return make(env).learn(num_steps), values_of


def tensors(observations: dict[str, np.ndarray]) -> Tensors:
    return {name: torch.as_tensor(part) for name, part in observations.items()}


def shown(learner: Any, probe: str, slate_size: int = 1) -> np.ndarray:
    """[B, S]: columns of `first_values` that it shows in each of `first_observations`."""
    observations, _, columns = first_observations(probe, slate_size)
    actions, _ = learner.predict(observations)
    if learner.env_variant == "Content":
        return np.abs(actions - np.array(PROBES[probe].contents)).argmin(1)[:, None]
    return np.take_along_axis(columns, actions.reshape(len(columns), slate_size), 1)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("probe", [probe for probe in PROBES if probe != "choice"])
def test_the_values_are_learned_and_the_best_candidate_is_shown(name, probe):
    learner, values_of = trained(name, probe)
    observations, rows, columns = first_observations(probe)
    expected = np.array(PROBES[probe].first_values(GAMMA))[rows]
    with torch.no_grad():
        values = values_of(learner, tensors(observations)).numpy()
    is_of_state = values.shape[1] == 1  # worth what its best candidate is
    known = expected.max(1, keepdims=True) if is_of_state else np.take_along_axis(expected, columns, 1)
    np.testing.assert_allclose(values, known, atol=TOLERANCE)
    np.testing.assert_array_equal(np.take_along_axis(expected, shown(learner, probe), 1)[:, 0], expected.max(1))


@pytest.mark.parametrize("name", ["PQN", "SlateQ"])
def test_no_value_is_bootstrapped_at_a_truncation(name):
    learner, values_of = trained(name, "two-steps", is_truncated=True)
    with torch.no_grad():
        values = values_of(learner, tensors(first_observations("two-steps")[0]))
    np.testing.assert_allclose(values, 1.0 + GAMMA * 2.0, atol=TOLERANCE)


def test_slate_q_learns_click_probabilities_item_values_and_the_best_slate():
    env = ProbeVectorEnv(32, probe="choice", slate_size=2)
    learner = SlateQ(env, **{**OURS, "final_epsilon": 0.5}, num_epochs=3).learn(4_096)
    observations, _, columns = first_observations("choice", slate_size=2)
    with torch.no_grad():
        values = learner.choice_values(tensors(observations))
    weights = np.exp(values.utilities.numpy())
    np.testing.assert_allclose(weights / (1.0 + weights), np.array([4 / 5, 2 / 3, 1 / 2])[columns], atol=0.1)
    np.testing.assert_allclose(2.0 * values.item_values, np.array([1.0, 4.0, 2.0])[columns], atol=TOLERANCE)
    np.testing.assert_allclose(2.0 * values.none_values, 0.0, atol=TOLERANCE)
    best = np.argsort(columns, 1)[:, 1:]
    np.testing.assert_allclose(values.of(torch.as_tensor(best)), (2 * 4.0 + 1 * 2.0) / (1 + 2 + 1) / 2, atol=TOLERANCE)
    assert (np.sort(shown(learner, "choice", 2), 1) == [1, 2]).all()
    learner.optimizer = "top-k"  # includes the item that is clicked most
    assert (np.sort(shown(learner, "choice", 2), 1) == [0, 1]).all()


@pytest.mark.parametrize("slate_size", [1, 2])
def test_a_probe_has_the_interface_of_the_vector_env(slate_size):
    probe = gymnasium.make_vec(
        "probes/two-steps-v0", 3, vectorization_mode="vector_entry_point", slate_size=slate_size, observation="full"
    )
    real = gymnasium.make_vec("recsim_env/Video-v0", 3, slate_size=slate_size, session_length=2, observation="full")
    for env in (probe, real):
        env.reset(seed=0)
    for _ in range(2):
        stepped = [env.step(env.action_space.sample()) for env in (probe, real)]
        (observations, rewards, terminated, truncated, infos), others = stepped
        assert set(infos) >= {name for name in others[4] if not name.startswith("_")}
        assert observations in probe.observation_space
        assert set(observations) == set(others[0])
        for ours, theirs in zip((rewards, terminated, truncated), others[1:4], strict=True):
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert terminated.all()
    assert set(infos["final_obs"][0]) == set(observations)
    elapsed = observations["user"][:, 1], [last["user"][1] for last in infos["final_obs"]]
    np.testing.assert_array_equal(elapsed, [[0.0] * 3, [1.0] * 3])
