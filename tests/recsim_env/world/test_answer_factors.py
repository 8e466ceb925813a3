"""Mean answers and factors of items, estimated from background users' answers."""

import numpy as np
import pytest

from recsim_env.world.answer_factors import answer_factors, mean_answers, principal_factors, ridge_prediction


def statistics_of(impressions, click_rate=0.5, mean_rating=0.8, num_ratings=0.0) -> np.ndarray:
    """[A, I, 4] from impressions [A, I]; the other columns are broadcast."""
    columns = np.log2(1.0 + np.asarray(impressions, float)) / 32.0, click_rate, mean_rating, num_ratings
    return np.stack(np.broadcast_arrays(*columns), -1).astype(np.float32)


def test_factors_are_those_of_a_singular_value_decomposition():
    rng = np.random.default_rng(0)
    answers = (rng.random((60, 4)) * [4.0, 3.0, 2.0, 1.0]) @ rng.standard_normal((4, 40)) + 0.01 * rng.random((60, 40))
    factors = principal_factors(answers, rng)
    left, sizes, _ = np.linalg.svd(answers - answers.mean(1, keepdims=True), full_matrices=False)
    expected = left[:, :4] * sizes[:4] / np.sqrt(40)
    np.testing.assert_allclose(factors @ factors.T, expected @ expected.T, atol=1e-4)


def test_mean_answers_are_shrunk_to_what_the_content_predicts():
    impressions = np.array([[0.0] * 4, [1000.0, 100.0, 1000.0, 100.0]])
    click_rate = np.array([[0.0] * 4, [0.5, 0.2, 0.4, 0.3]])
    mean_rating = np.array([[0.0] * 4, [0.8, 0.6, 0.7, 0.9]])
    num_ratings = np.array([[0.0] * 4, [400.0, 16.0, 300.0, 25.0]])
    features = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    known = mean_answers(statistics_of(impressions, click_rate, mean_rating, num_ratings), 0.5, features)
    clicks = (click_rate * impressions)[1]
    rate = (num_ratings[1] + 50.0 * num_ratings[1].sum() / clicks.sum()) / (clicks + 50.0)
    answers = clicks * rate * (5.0 * mean_rating[1] ** 2 + 0.1)  # E[rating^2] / 5
    means = answers / impressions[1]
    predicted = ridge_prediction(features, means[:, None], impressions[1] / (impressions[1] + 20.0))[:, 0]
    assert known[:, 0] == pytest.approx(predicted, rel=1e-5)  # not shown yet
    assert known[:, 1] == pytest.approx((answers + 20.0 * predicted) / (impressions[1] + 20.0), rel=1e-5)


def test_a_prediction_from_content_is_fitted_to_all_other_items():
    rng = np.random.default_rng(5)
    features, targets, weights = rng.random((12, 2)), rng.random((12, 1)), rng.random(12)
    predicted = ridge_prediction(features, targets, weights)
    center = weights @ features / weights.sum()  # of all: the ridge shrinks the slopes of this centre's regression
    inputs = np.hstack([np.ones((12, 1)), features - center])
    for item in range(12):
        others = np.arange(12) != item
        weighted = inputs[others].T * weights[others]
        coefficients = np.linalg.solve(weighted @ inputs[others] + np.diag([0.0, 1.0, 1.0]), weighted @ targets[others])
        assert predicted[item] == pytest.approx(inputs[item] @ coefficients)


def test_items_that_nobody_has_seen_tell_nothing():
    rng = np.random.default_rng(6)
    nothing = statistics_of(np.zeros((16, 50)), 0.0, 0.0)
    features = rng.random((50, 3))
    assert not mean_answers(nothing, 0.5, features).any()
    assert not answer_factors(rng.random((50, 20)), 2.0, nothing, features, rng)[0].any()


def test_new_items_have_the_factors_that_their_content_predicts_and_old_ones_their_own():
    rng = np.random.default_rng(1)
    features, tastes = rng.standard_normal((300, 5)), rng.standard_normal((4, 64))
    planted = features @ rng.standard_normal((5, 4)) + 0.5 * rng.standard_normal((300, 4))
    impressions = np.repeat([0.0, 10.0, 1e3, 1e9], 4)[:, None] * np.ones(300)
    known, variance = answer_factors(planted @ tastes, 40.0, statistics_of(impressions), features, rng)
    new, young, _, old = known.transpose(1, 0, 2).astype(float)
    truth = principal_factors(planted @ tastes, np.random.default_rng(2))
    assert variance == pytest.approx(40.0 - (truth**2).sum(1).mean(), rel=1e-3)
    np.testing.assert_allclose(old @ old.T, truth @ truth.T, atol=0.05)
    np.testing.assert_allclose(new, ridge_prediction(features, old, np.ones(300)), atol=1e-3)
    errors = [np.square(factors - old).mean() for factors in (new, young)]
    assert 0.0 < errors[1] < errors[0]


def test_the_same_seed_gives_the_same_factors():
    rng = np.random.default_rng(3)
    answers, features = rng.random((500, 128)), rng.random((500, 8))
    statistics = statistics_of(np.arange(16.0)[:, None] * np.ones(500))
    once, again = (answer_factors(answers, 2.0, statistics, features, np.random.default_rng(4))[0] for _ in range(2))
    assert once.tobytes() == again.tobytes()
