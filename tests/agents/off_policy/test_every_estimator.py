"""All estimators of a log at once."""

import numpy as np
import pytest
import tiny_decision_process as tiny

from agents.off_policy import MODEL_BASED, WEIGHTING, estimates

EXACT = ("IS", "WIS", "PDIS", "WPDIS", "DR", "FQE")


def test_over_all_sessions_every_sequential_estimator_equals_the_value():
    log, states, actions = tiny.population()
    features, means = (np.zeros((len(states), tiny.LENGTH, 2, 2)) for _ in range(2))
    rows = np.arange(len(states))
    features[rows, log.steps, states, actions] = 1.0
    means[rows, log.steps, states] = tiny.EVALUATION[states]
    found = estimates(log, features.reshape(len(states), -1), means.reshape(len(states), -1))
    assert set(found) == {*WEIGHTING, *MODEL_BASED, "FQE"}
    for name in EXACT:
        assert found[name].value == pytest.approx(tiny.true_value(), abs=2e-3), name  # cross-fitted folds differ


def test_without_features_there_are_no_estimates_by_a_model():
    assert set(estimates(tiny.population()[0])) == set(WEIGHTING)
