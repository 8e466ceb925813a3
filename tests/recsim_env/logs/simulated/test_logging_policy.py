"""Logging policies: what they show, and the propensities that are logged with it."""

import itertools
import math

import numpy as np
import pytest
from gymnasium import spaces

from recsim_env.logs.simulated.logging_policy import logging_policy

NUM_LANES = 200_000
STARTS = np.ones(NUM_LANES, np.bool_)


class Shows:
    """Shows the same slate in all lanes; `log_probabilities`, if there are any, say how it was called."""

    def __init__(self, *slate):
        self.slate = slate

    def predict(self, observations, state=None, episode_start=None, deterministic=True):
        slates = np.tile(self.slate, (len(observations), 1))
        return (slates[:, 0] if len(self.slate) == 1 else slates), state


def space(num_candidates, slate_size):
    if slate_size == 1:
        return spaces.Discrete(num_candidates)
    return spaces.MultiDiscrete([num_candidates] * slate_size)


def act(policy, available, slate_size, epsilon=None, num_lanes=NUM_LANES):
    """Slates of a policy [N, S], and their propensities [N]."""
    acting = logging_policy(policy, action_space=space(len(available), slate_size), epsilon=epsilon, seed=0)
    is_available = np.tile(np.array(available, np.bool_), (num_lanes, 1))
    actions, log_propensities = acting.act(np.zeros((num_lanes, 1)), is_available, STARTS[:num_lanes])
    assert actions.shape == ((num_lanes,) if slate_size == 1 else (num_lanes, slate_size))
    return actions.reshape(num_lanes, slate_size), np.exp(log_propensities)


@pytest.mark.parametrize(
    ("policy", "available", "slate_size", "epsilon", "by_hand"),
    [
        # Random: one over the number of ordered slates.
        ("random", [1, 1, 1], 1, None, {(0,): 1 / 3, (1,): 1 / 3, (2,): 1 / 3}),
        ("random", [1, 0, 1], 1, None, {(0,): 0.5, (2,): 0.5}),
        ("random", [1, 1, 1], 2, None, dict.fromkeys(itertools.permutations(range(3), 2), 1 / 6)),
        ("random", [0, 1, 0, 1], 3, None, {(1, 3, 0): 0.5, (3, 1, 0): 0.5}),  # places of missing ones are not random
        # Epsilon-greedy: (1 - 0.2) [it is the policy's] + 0.2 / 4.
        (Shows(2), [1, 1, 1, 1], 1, 0.2, {(0,): 0.05, (1,): 0.05, (2,): 0.85, (3,): 0.05}),
        (Shows(2), [1, 1, 1, 1], 1, 0.0, {(2,): 1.0}),
        (Shows(0), [1, 1, 1], 1, 1.0, {(0,): 1 / 3, (1,): 1 / 3, (2,): 1 / 3}),
        # 0.2 / 6, and 0.8 more for the policy's slate.
        (
            Shows(2, 0),
            [1, 1, 1],
            2,
            0.2,
            {slate: 0.2 / 6 + 0.8 * (slate == (2, 0)) for slate in itertools.permutations(range(3), 2)},
        ),
        # A slate with a repeat, or with a missing candidate, is never drawn at random.
        (Shows(1, 1), [1, 1, 0], 2, 0.2, {(1, 1): 0.8, (0, 1): 0.1, (1, 0): 0.1}),
        (Shows(2), [1, 1, 0], 1, 0.2, {(2,): 0.8, (0,): 0.1, (1,): 0.1}),
    ],
)
def test_propensities_are_those_by_hand_and_those_counted(policy, available, slate_size, epsilon, by_hand):
    assert sum(by_hand.values()) == pytest.approx(1.0)
    slates, propensities = act(policy, available, slate_size, epsilon)
    shown, counts = np.unique(slates, axis=0, return_counts=True)
    assert {tuple(slate) for slate in shown.tolist()} == by_hand.keys()
    for slate, count in zip(map(tuple, shown.tolist()), counts, strict=True):
        logged = propensities[(slates == slate).all(1)]
        np.testing.assert_allclose(logged, by_hand[slate], rtol=1e-12)
        deviation = math.sqrt(by_hand[slate] * (1.0 - by_hand[slate]) / NUM_LANES)
        assert count / NUM_LANES == pytest.approx(by_hand[slate], abs=4.0 * deviation + 1e-12)


def test_a_slate_of_five_of_twenty_has_the_propensity_by_hand():
    slates, propensities = act(Shows(0, 1, 2, 3, 4), [1] * 20, 5, epsilon=0.2)
    is_greedy = (slates == np.arange(5)).all(1)
    np.testing.assert_allclose(propensities[~is_greedy], 0.2 / (20 * 19 * 18 * 17 * 16))
    np.testing.assert_allclose(propensities[is_greedy], 0.8 + 0.2 / (20 * 19 * 18 * 17 * 16))


def test_random_points_are_uniform_and_have_their_density():
    acting = logging_policy("random", action_space=spaces.Box(-1.0, 1.0, (3,), np.float32), epsilon=None, seed=0)
    points, log_propensities = acting.act(None, np.ones((10_000, 4), np.bool_), STARTS[:10_000])
    assert points.dtype == np.float32
    assert points.min() >= -1.0
    assert points.max() <= 1.0
    np.testing.assert_allclose(points.mean(0), 0.0, atol=0.03)
    np.testing.assert_allclose(points.std(0), 2.0 / math.sqrt(12.0), atol=0.02)
    np.testing.assert_allclose(np.exp(log_propensities), 1.0 / 8.0)


class Recurrent(Shows):
    """Counts its steps in a state that it updates in place, and says which state and starts it was asked with."""

    def predict(self, observations, state=None, episode_start=None, deterministic=True):
        assert deterministic is False
        state = {"steps": 0} if state is None else state
        state["steps"] += 1
        return super().predict(observations)[0], state

    def log_probabilities(self, observations, actions, state=None, episode_start=None):
        steps = 0 if state is None else state["steps"]
        return np.where(episode_start, -10.0, 0.0) - steps


def test_probabilities_of_a_policy_are_asked_for_with_its_state_before_the_step():
    acting = logging_policy(Recurrent(0), action_space=spaces.Discrete(3), epsilon=None, seed=0)
    starts = np.array([True, False])
    for step in range(3):
        _, log_propensities = acting.act(np.zeros((2, 1)), np.ones((2, 3), np.bool_), starts)
        np.testing.assert_array_equal(log_propensities, [-10.0 - step, -step])


class WithoutClosedForm(Shows):
    def log_probabilities(self, observations, actions, state=None, episode_start=None):
        raise NotImplementedError


@pytest.mark.parametrize("policy", [Shows(0), WithoutClosedForm(0)])
def test_propensities_of_a_policy_without_probabilities_are_unknown(policy):
    acting = logging_policy(policy, action_space=spaces.Discrete(3), epsilon=None, seed=0)
    actions, log_propensities = acting.act(np.zeros((2, 1)), np.ones((2, 3), np.bool_), STARTS[:2])
    assert actions.tolist() == [0, 0]
    assert log_propensities is None


def test_random_slates_go_on_from_a_saved_state():
    one, other = (logging_policy("random", action_space=space(9, 2), epsilon=None, seed=seed) for seed in (0, 1))
    available = np.ones((5, 9), np.bool_)
    one.act(None, available, STARTS[:5])
    other.restore(one.state())
    for _ in range(3):
        np.testing.assert_array_equal(
            one.act(None, available, STARTS[:5])[0], other.act(None, available, STARTS[:5])[0]
        )


@pytest.mark.parametrize("slate", [(3,), (-1,), (0, 1), (0.5,)])
def test_a_policy_that_returns_no_candidates_is_refused(slate):
    with pytest.raises(ValueError, match=r"must return indices of candidates, 0 to 2, of shape \(4,\)"):
        act(type("Wrong", (), {"predict": lambda *_, **__: (np.tile(slate, (4, 1)), None)})(), [1, 1, 1], 1, 0.1, 4)


def test_epsilon_greedy_of_a_policy_that_is_random_is_refused():
    generator = np.random.default_rng(0)
    policy = type("Wrong", (), {"predict": lambda *_, **__: (generator.integers(0, 3, 40), None)})()
    with pytest.raises(ValueError, match=r"epsilon=0\.1: must be omitted, since Wrong is not deterministic"):
        act(policy, [1, 1, 1], 1, 0.1, 40)


class Says(Shows):
    """Has the given log-probabilities."""

    def __init__(self, log_probabilities):
        super().__init__(0)
        self.values = log_probabilities

    def log_probabilities(self, observations, actions, state=None, episode_start=None):
        return self.values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, np.nan], "must return 2 finite numbers, at most 0, not nan"),
        ([0.0, -np.inf], "must return 2 finite numbers, at most 0, not -inf"),
        ([0.5, -1.0], "must return 2 finite numbers, at most 0, not 0.5"),
        ([0.0], r"must return 2 finite numbers, not float64 of shape \(1,\)"),
        (-1.0, r"must return 2 finite numbers, not float64 of shape \(\)"),
        (["a", "b"], "must return 2 finite numbers, not <U1"),
    ],
)
def test_propensities_that_are_no_log_probabilities_are_refused(values, message):
    acting = logging_policy(Says(values), action_space=spaces.Discrete(3), epsilon=None, seed=0)
    with pytest.raises(ValueError, match=rf"^policy\.log_probabilities: {message}"):
        acting.act(np.zeros((2, 1)), np.ones((2, 3), np.bool_), STARTS[:2])


def test_densities_of_points_may_exceed_one():
    acting = logging_policy(Says([0.5, -1.0]), action_space=spaces.Box(-1.0, 1.0, (1,)), epsilon=None, seed=0)
    _, log_propensities = acting.act(np.zeros((2, 1)), np.ones((2, 3), np.bool_), STARTS[:2])
    np.testing.assert_array_equal(log_propensities, [0.5, -1.0])


def test_a_class_in_the_place_of_a_policy_is_refused():
    with pytest.raises(ValueError, match=r"^policy=Shows: is a class, must be an object with predict\(\)$"):
        logging_policy(Shows, action_space=spaces.Discrete(3), epsilon=None, seed=0)
