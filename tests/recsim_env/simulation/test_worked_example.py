"""The design's worked example: user [0.1, 0.2, 0.3], content [0.4, 0.5, 0.6], three actions."""

import numpy as np
import pytest
from scipy import stats
from tiny_world import CERTAIN, make_simulator, show

from recsim_env.simulation.user_model import effective_affinity

UNLIKELY = 1e-4  # seeds are fixed: a test that passes once passes always


USER, CONTENT = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def test_one_rating_of_one_gives_a_reward_of_one():
    simulator = make_simulator(
        interests=USER, factors=[CONTENT] * 3, choice_intercept=CERTAIN, rating_cuts=(97.0, 98.0, 99.0, 100.0)
    )
    assert show(simulator, 0)["reward"][0] == 1.0


@pytest.mark.parametrize(
    ("weights", "state", "expected"), [(USER, USER, 0.14), (CONTENT, CONTENT, 0.77), (USER, CONTENT, 0.32)]
)
def test_pre_activations_of_the_worked_example(weights, state, expected):
    simulator = make_simulator(interests=weights, factors=[state] * 3)
    session, item, parameters = simulator.sessions[0], simulator.world.item_records[0], simulator.parameters[0]
    assert effective_affinity(session, item, parameters) == pytest.approx(expected)


def test_a_boltzmann_policy_over_the_action_values_is_the_softmax():
    values = np.array([0.14, 0.77, 0.32])  # Q(S, C, a) of the three actions
    simulator = make_simulator(
        num_sessions=60_000, slate_size=3, interests=(1.0, 1.0, 1.0), factors=np.diag(values), continue_probability=1.0
    )
    show(simulator, 0, 1, 2)
    clicks = simulator.sessions["history_feedback"][:, :3, 1].sum(0)
    policy = np.exp(values) / np.exp(values).sum()
    assert policy == pytest.approx([0.2455, 0.4609, 0.2939], abs=5e-4)
    assert stats.chisquare(clicks, clicks.sum() * policy).pvalue > UNLIKELY
