"""The log of decisions: what it refuses, in one line."""

import dataclasses
import re

import numpy as np
import pytest

from agents.off_policy import OffPolicyLog, doubly_robust

LOG = OffPolicyLog(
    sessions=np.array([0, 0, 2]),
    steps=np.array([0, 1, 0]),
    rewards=np.array([1.0, 2.0, 3.0]),
    behaviour_log_probabilities=np.log([0.5, 0.5, 0.5]),
    evaluation_log_probabilities=np.log([0.5, 0.5, 0.5]),
)

WRONG = {
    "rewards of shape (2,): must be (3,)": {"rewards": np.zeros(2)},
    "rewards[1]=nan: must be finite": {"rewards": np.array([0.0, np.nan, 0.0])},
    "rewards: must be numbers": {"rewards": np.array(["a", "b", "c"])},
    "behaviour_log_probabilities[2]=0.5: must be a log-probability": {
        "behaviour_log_probabilities": np.array([-1.0, -1.0, 0.5])
    },
    "evaluation_log_probabilities[0]=nan: must be a log-probability": {
        "evaluation_log_probabilities": np.array([np.nan, -1.0, -1.0])
    },
    "behaviour_log_probabilities[1]=-inf: a logged action must have a probability above 0": {
        "behaviour_log_probabilities": np.array([-1.0, -np.inf, -np.inf])
    },
    "(2 of 3 rows have probability 0)": {"behaviour_log_probabilities": np.array([-1.0, -np.inf, -np.inf])},
    "sessions of type float64: must be integers": {"sessions": np.array([0.0, 0.0, 2.0])},
    "sessions of shape (0,): must be one-dimensional, with at least one row": {"sessions": np.zeros(0, int)},
    "steps of shape (2,): must be (3,)": {"steps": np.array([0, 1])},
    "row 2: session 0, step 0 after session 2, step 1": {"sessions": np.array([2, 2, 0])},
    "row 1: session 0, step 2 after session 0, step 0": {"steps": np.array([0, 2, 0])},
    "row 0: session 0, step 1: rows must be in the order": {"steps": np.array([1, 2, 0])},
    "action_values and state_values: give both or neither": {"action_values": np.zeros(3)},
    "gamma=1.5: must be a number in [0.0, 1.0]": {"gamma": 1.5},
}


@pytest.mark.parametrize("message", WRONG)
def test_bad_arrays_are_refused_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        dataclasses.replace(LOG, **WRONG[message])
    assert len(str(error.value).splitlines()) == 1


def test_an_estimator_without_the_values_that_it_needs_says_so():
    with pytest.raises(ValueError, match="needs predicted values"):
        doubly_robust(LOG)


def test_rounding_may_lift_a_probability_a_little_above_one():
    log = dataclasses.replace(LOG, evaluation_log_probabilities=np.array([1e-9, -1.0, -1.0]))
    assert log.evaluation_log_probabilities[0] == 0.0
