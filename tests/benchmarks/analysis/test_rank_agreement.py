"""Agreement of two rankings of agents: values by hand, and intervals that cover what they should."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmarks.analysis.rank_agreement import (
    decided_pairs,
    difference,
    kendalls_tau,
    mean_returns,
    tau_without_each,
)


def certain(*means: float) -> tuple[np.ndarray, np.ndarray]:
    """A ranking without noise."""
    return np.array(means), np.tile(means, (10, 1))


@pytest.mark.parametrize(
    ("other", "tau"),
    [
        ((1.0, 2.0, 3.0, 4.0), 1.0),
        ((4.0, 3.0, 2.0, 1.0), -1.0),
        ((1.0, 3.0, 2.0, 4.0), 4 / 6),
        ((2.0, 2.0, 2.0, 2.0), 0.0),
    ],
)
def test_tau_is_the_surplus_of_pairs_in_the_same_order(other, tau):
    found, draws = kendalls_tau(certain(10.0, 20.0, 30.0, 40.0), certain(*other))
    assert found.value == found.low == found.high == pytest.approx(tau)
    assert len(draws) == 10


def test_tau_is_that_of_scipy_with_ties_too():
    for one, other in np.random.default_rng(0).integers(0, 5, (20, 2, 9)).astype(float):
        found, _ = kendalls_tau(certain(*one), certain(*other))
        assert found.value == pytest.approx(kendalltau(one, other).statistic)


def test_tau_without_one_agent_shows_whether_it_hangs_on_one():
    taus = tau_without_each(np.array([1.0, 2.0, 3.0, 4.0]), np.array([4.0, 1.0, 2.0, 3.0]))
    assert taus[0] == pytest.approx(1.0)
    assert taus[1:].tolist() == pytest.approx([-1 / 3] * 3)


def test_means_weigh_each_person_and_each_training_alike():
    returns = np.array([[[1.0, 3.0, np.nan], [5.0, np.nan, 7.0]]])  # one agent, two trainings, three people
    values, draws = mean_returns({"world": returns})["world"]
    assert values.tolist() == [4.0]  # (2 + 6) / 2
    assert draws.shape == (2_000, 1)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    people = np.random.default_rng(1).normal(10.0, 2.0, 400)
    values, draws = mean_returns({"world": people[None, None]})["world"]
    assert values[0] == pytest.approx(people.mean())
    assert draws.std() == pytest.approx(people.std() / 400**0.5, rel=0.1)


def test_differences_are_paired_by_person():
    generator = np.random.default_rng(2)
    people = generator.normal(0.0, 100.0, 200)
    returns = np.stack([people, people + 1.0 + generator.normal(0.0, 0.1, 200)])[:, None]
    ranking = mean_returns({"world": returns})["world"]
    found = difference(ranking, 1, 0)
    assert 0.95 < found.low < found.value < found.high < 1.05


def test_people_of_two_worlds_are_resampled_apart():
    people = np.random.default_rng(3).normal(size=(1, 1, 100))
    ranking = mean_returns({"one": people, "other": people})
    assert abs(np.corrcoef(ranking["one"][1][:, 0], ranking["other"][1][:, 0])[0, 1]) < 0.1


def test_only_pairs_that_are_significant_in_both_rankings_count():
    def noisy(*means: float) -> tuple[np.ndarray, np.ndarray]:
        draws = np.array(means) + np.random.default_rng(4).normal(0.0, 0.1, (2_000, len(means)))
        return np.array(means), draws

    # The last two tie in the second ranking; the first is best in one ranking and worst in the other.
    assert decided_pairs(noisy(9.0, 5.0, 3.0), noisy(1.0, 5.0, 5.01)) == (2, 0)
    assert decided_pairs(noisy(9.0, 5.0, 3.0), noisy(8.0, 5.0, 5.01)) == (2, 2)


def test_the_interval_of_tau_contains_0_for_unrelated_rankings():
    generator = np.random.default_rng(5)
    hits = 0
    for seed in range(40):
        worlds = {name: generator.normal(size=(8, 1, 30)) for name in ("one", "other")}
        ranking = mean_returns(worlds, seed=seed, num_draws=200)
        found, _ = kendalls_tau(ranking["one"], ranking["other"])
        hits += found.low <= 0.0 <= found.high
    assert hits >= 36
