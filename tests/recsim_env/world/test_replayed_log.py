"""What the platform knows of the items of a replayed log, from the ratings of other people."""

import numpy as np
import pytest

from recsim_env.logs.fitting.factorization import Ratings
from recsim_env.world.replayed_log import ranking_of, statistics_of


def test_statistics_are_counts_and_means_of_the_ratings():
    ratings = Ratings(np.array([0, 1, 2, 0]), np.array([0, 0, 0, 2]), np.array([5.0, 2.0, 5.0, 1.0]), 3, 3)
    statistics = statistics_of(ratings)
    np.testing.assert_allclose(statistics[0], [np.log2(4.0) / 32.0, 1.0, 0.8, 3.0], rtol=1e-6)
    np.testing.assert_allclose(statistics[1], 0.0)  # nobody rated it
    np.testing.assert_allclose(statistics[2], [1.0 / 32.0, 1.0, 0.2, 1.0], rtol=1e-6)


@pytest.fixture(scope="module")
def made():
    """400 people with one taste who rate 60 items: the answer is 2.5 + effect of the item + taste x factor."""
    generator = np.random.default_rng(0)
    tastes, factors, effects = (
        generator.standard_normal(400),
        generator.normal(0, 0.4, 60),
        generator.normal(0, 0.3, 60),
    )
    users, items = np.nonzero(generator.random((400, 60)) < 0.5)
    answers = 2.5 + effects[items] + tastes[users] * factors[items] + generator.normal(0.0, 0.3, len(users))
    ratings = np.sqrt(5.0 * np.maximum(answers, 0.0))
    return effects, factors, Ratings(users, items, ratings, 400, 60)


def test_mean_answers_and_factors_are_found_again(made):
    effects, factors, ratings = made
    means, found, variance = ranking_of(ratings)
    assert np.abs(means - 2.5 - effects).max() < 0.15
    covariance = found @ found.T  # of the answers to two items over people: factors are known up to a rotation
    assert np.corrcoef(covariance.ravel(), np.outer(factors, factors).ravel())[0, 1] > 0.98
    assert 0.4 < np.trace(covariance) / (factors**2).sum() < 1.1  # shrunk by the ridges
    assert variance == pytest.approx(0.09, rel=0.2)


def test_the_ranking_of_a_log_has_no_chance_in_it(made):
    first, second = ranking_of(made[2]), ranking_of(made[2])
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
