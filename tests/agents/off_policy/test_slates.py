"""Estimators for slates: by hand, against enumeration where their assumption holds, and biased where it does not."""

import dataclasses
from itertools import product

import numpy as np
import pytest

from agents.off_policy import (
    MODEL_BASED,
    WEIGHTING,
    SlateLog,
    cascade_doubly_robust,
    estimates,
    fitted_q_evaluation,
    importance_sampling,
    item_position,
    reward_interaction,
)
from agents.off_policy.fitted_q import fit

BEHAVIOUR_TOP, EVALUATION_TOP = np.array([0.5, 0.5]), np.array([0.25, 0.75])
BEHAVIOUR_NEXT = np.array([[0.75, 0.25], [0.5, 0.5]])
"""Of the item in the second slot, by the item in the first."""
EVALUATION_NEXT = np.array([[0.5, 0.5], [0.25, 0.75]])


def every_slate(slot_rewards: dict[tuple[int, int], tuple[float, float]]) -> tuple[SlateLog, float]:
    """Each slate of two slots and two items as often as its probability says, and the evaluation policy's value."""
    top, bottom, counts = [], [], []
    for first, second in product(range(2), range(2)):
        top.append(first)
        bottom.append(second)
        counts.append(round(8 * BEHAVIOUR_TOP[first] * BEHAVIOUR_NEXT[first, second]))
    first, second = np.repeat(top, counts), np.repeat(bottom, counts)
    rewards = np.array([slot_rewards[slate] for slate in zip(first, second, strict=True)])
    value = sum(
        EVALUATION_TOP[a] * EVALUATION_NEXT[a, b] * sum(slot_rewards[a, b]) for a, b in product(range(2), range(2))
    )
    log = SlateLog(
        sessions=np.arange(len(first)),
        steps=np.zeros(len(first), int),
        slot_rewards=rewards,
        behaviour_log_probabilities=np.log(np.column_stack([BEHAVIOUR_TOP[first], BEHAVIOUR_NEXT[first, second]])),
        evaluation_log_probabilities=np.log(np.column_stack([EVALUATION_TOP[first], EVALUATION_NEXT[first, second]])),
        behaviour_marginals=np.log(np.column_stack([BEHAVIOUR_TOP[first], (BEHAVIOUR_TOP @ BEHAVIOUR_NEXT)[second]])),
        evaluation_marginals=np.log(
            np.column_stack([EVALUATION_TOP[first], (EVALUATION_TOP @ EVALUATION_NEXT)[second]])
        ),
    )
    return log, float(value)


OWN_ITEM = {(a, b): ((1.0, 3.0)[a], (2.0, -1.0)[b]) for a, b in product(range(2), range(2))}
CASCADE = {(a, b): ((1.0, 3.0)[a], ((2.0, -1.0), (0.0, 4.0))[a][b]) for a, b in product(range(2), range(2))}
WHOLE = {(a, b): (((2.0, -3.0), (0.0, 4.0))[a][b], 0.0) for a, b in product(range(2), range(2))}
"""Rewards of the slots: of their own item; of the items down to theirs; of the whole slate."""


def test_estimates_by_hand():
    slates = SlateLog(
        sessions=np.array([0, 1]),
        steps=np.array([0, 0]),
        slot_rewards=np.array([[1.0, 2.0], [0.0, 4.0]]),
        behaviour_log_probabilities=np.log([[0.5, 0.5], [0.25, 0.5]]),
        evaluation_log_probabilities=np.log([[0.25, 0.5], [0.5, 0.25]]),
        behaviour_marginals=np.log([[0.5, 0.25], [0.5, 0.5]]),
        evaluation_marginals=np.log([[0.25, 0.5], [0.5, 0.25]]),
        action_values=np.array([[3.0, 1.0], [2.0, 3.0]]),
        state_values=np.array([[2.0, 1.5], [1.0, 2.0]]),
    )
    assert item_position(slates).value == pytest.approx((0.5 * 1.0 + 2.0 * 2.0 + 0.0 + 0.5 * 4.0) / 2)
    assert reward_interaction(slates).value == pytest.approx((0.5 * 1.0 + 0.5 * 2.0 + 0.0 + 1.0 * 4.0) / 2)
    normalized = 0.5 * 1.0 / 2.5 + (0.5 * 2.0 + 1.0 * 4.0) / 1.5
    assert reward_interaction(slates, is_self_normalized=True).value == pytest.approx(normalized)
    first = 2.0 + 0.5 * (1.0 - 3.0) + 0.5 * 1.5 + 0.5 * (2.0 - 1.0)
    second = 1.0 + 2.0 * (0.0 - 2.0) + 2.0 * 2.0 + 1.0 * (4.0 - 3.0)
    assert cascade_doubly_robust(slates).value == pytest.approx((first + second) / 2)


def test_the_item_position_model_is_exact_for_rewards_of_the_own_item_alone():
    log, value = every_slate(OWN_ITEM)
    assert item_position(log).value == pytest.approx(value, rel=1e-9)
    log, value = every_slate(CASCADE)
    assert abs(item_position(log).value - value) > 0.1


def test_the_cascade_is_exact_for_rewards_that_depend_on_items_above():
    log, value = every_slate(CASCADE)
    assert reward_interaction(log).value == pytest.approx(value, rel=1e-9)
    assert reward_interaction(log, is_self_normalized=True).value == pytest.approx(value, rel=1e-9)
    log, value = every_slate(WHOLE)
    assert abs(reward_interaction(log).value - value) > 0.1


def test_the_weights_of_whole_slates_are_exact_for_any_rewards():
    for rewards in (OWN_ITEM, CASCADE, WHOLE):
        log, value = every_slate(rewards)
        assert importance_sampling(log.as_slates).value == pytest.approx(value, rel=1e-9)
        assert importance_sampling(log.as_decisions).value == pytest.approx(value, rel=1e-9)


def test_cascade_doubly_robust_is_exact_whatever_the_model():
    log, value = every_slate(CASCADE)
    first = (np.exp(log.behaviour_log_probabilities[:, 0]) > 0) * (log.slot_rewards[:, 0] == 3.0)  # item 1 on top
    second = log.slot_rewards[:, 1] == np.where(first, 4.0, -1.0)
    top, bottom = np.random.default_rng(0).normal(size=2), np.random.default_rng(1).normal(size=(2, 2))
    a, b = first.astype(int), second.astype(int)
    modelled = dataclasses.replace(
        log,
        action_values=np.column_stack([top[a], bottom[a, b]]),
        state_values=np.column_stack([np.full(len(a), EVALUATION_TOP @ top), (EVALUATION_NEXT[a] * bottom[a]).sum(1)]),
    )
    assert cascade_doubly_robust(modelled).value == pytest.approx(value, rel=1e-9)


def test_slates_of_one_slot_are_single_items():
    log, _ = every_slate(CASCADE)
    single = SlateLog(
        sessions=log.sessions,
        steps=log.steps,
        slot_rewards=log.slot_rewards[:, :1],
        behaviour_log_probabilities=log.behaviour_log_probabilities[:, :1],
        evaluation_log_probabilities=log.evaluation_log_probabilities[:, :1],
        behaviour_marginals=log.behaviour_log_probabilities[:, :1],
        evaluation_marginals=log.evaluation_log_probabilities[:, :1],
    )
    expected = importance_sampling(single.as_slates)
    for found in (item_position(single), reward_interaction(single)):
        assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_later_steps_of_a_session_are_discounted_and_weighted_by_earlier_slates():
    slates = SlateLog(
        sessions=np.array([0, 0]),
        steps=np.array([0, 1]),
        slot_rewards=np.array([[1.0, 0.0], [2.0, 4.0]]),
        behaviour_log_probabilities=np.log([[0.5, 0.5], [0.5, 0.5]]),
        evaluation_log_probabilities=np.log([[1.0, 0.75], [0.25, 1.0]]),
        gamma=0.5,
    )
    weights = [2.0, 3.0, 1.5, 3.0]
    assert reward_interaction(slates).value == pytest.approx(weights[0] + 0.5 * (2.0 * weights[2] + 4.0 * weights[3]))
    marginal = dataclasses.replace(
        slates,
        behaviour_marginals=slates.behaviour_log_probabilities,
        evaluation_marginals=slates.evaluation_log_probabilities,
    )
    assert item_position(marginal).value == pytest.approx(2.0 + 0.5 * 3.0 * (0.5 * 2.0 + 2.0 * 4.0))


def test_slates_and_single_items_are_not_taken_for_each_other():
    slates, _ = every_slate(CASCADE)
    features = np.ones((8, 1))
    of_items = [*WEIGHTING.values(), *MODEL_BASED.values(), estimates]
    of_items += [lambda log: fit(log, features, features), lambda log: fitted_q_evaluation(log, features, features)]
    for estimator in of_items:
        with pytest.raises(
            TypeError, match=r"^log of type SlateLog: must be an OffPolicyLog, such as as_slates of a SlateLog$"
        ):
            estimator(slates)
    for estimator in (item_position, reward_interaction, cascade_doubly_robust):
        with pytest.raises(
            TypeError,
            match=r"^slates of type OffPolicyLog: must be a SlateLog, with rewards and probabilities of slots$",
        ):
            estimator(slates.as_slates)


def test_bad_slates_are_refused_in_one_line():
    log, _ = every_slate(CASCADE)
    wrong = {
        r"slot_rewards of shape \(8,\)": {"slot_rewards": np.zeros(8)},
        r"evaluation_log_probabilities of shape \(8, 3\): must be \(8, 2\)": {
            "evaluation_log_probabilities": np.zeros((8, 3))
        },
        r"slot_rewards\[0, 0\]=nan: must be finite": {"slot_rewards": np.full((8, 2), np.nan)},
        "give both or neither": {"behaviour_marginals": None},
        "behaviour_marginals: a logged item must": {"behaviour_marginals": np.full((8, 2), -np.inf)},
        "a logged action must have a probability above 0": {"behaviour_log_probabilities": np.full((8, 2), -np.inf)},
    }
    for message, changes in wrong.items():
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(log, **changes)
    with pytest.raises(ValueError, match="needs the marginal probabilities"):
        item_position(dataclasses.replace(log, behaviour_marginals=None, evaluation_marginals=None))
    with pytest.raises(ValueError, match="needs predicted values"):
        cascade_doubly_robust(log)
