"""Comparison of an agent's gains in hidden worlds with those in the public ones."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.analysis.agreement import difference, gains_by_scenario, scenarios_below
from benchmarks.rows import ResultsError
from benchmarks.submission.verification_record import verdict_of
from benchmarks.suites import ONE, ZERO

GENERATOR = np.random.default_rng(0)


def rows(score: float, others: tuple[str, ...] = (ZERO, ONE), num_seeds: int = 3, fitted: str = "") -> list[dict]:
    """Rows of an agent with about that score in four scenarios, and of references that return 2 and 12."""
    found = []
    for scenario in ("Video", "News", "Social", "Music"):
        for seed in range(num_seeds):
            bonus = 0.4 if scenario == fitted else 0.0
            own = 2.0 + 10.0 * (score + bonus + GENERATOR.normal(0.0, 0.02))
            for agent, value in {"mine": own, ZERO: 2.0, ONE: 12.0}.items():
                if agent in ("mine", *others):
                    found.append(
                        {
                            "agent": agent,
                            "scenario": scenario,
                            "seed": seed,
                            "status": "ok",
                            "is_final": True,
                            "return_mean": value,
                        }
                    )
    return found


def verdict(public: list[dict], hidden: list[dict], repeated: dict[str, list[str]]) -> str:
    return verdict_of("mine", public, hidden, repeated)["verdict"]


def test_gains_are_scores_in_the_public_worlds():
    public = rows(0.5)
    gains = gains_by_scenario(public, "mine", public)
    assert gains["Video"].shape == (3,)
    assert np.mean([values.mean() for values in gains.values()]) == pytest.approx(0.5, abs=0.05)


def test_an_agent_that_gains_as_much_in_hidden_worlds_is_verified():
    assert verdict(rows(0.5), rows(0.5, (ZERO,), 5), {"a run": []}) == "verified"


def test_an_agent_that_gains_less_in_hidden_worlds_is_overfitted():
    assert verdict(rows(0.5), rows(0.3, (ZERO,)), {"a run": []}) == "overfitted to the public worlds"


def test_an_agent_that_is_overfitted_to_one_scenario_is_found():
    public, hidden = rows(0.5, fitted="Social"), rows(0.5, (ZERO,))
    scores, other = (gains_by_scenario(each, "mine", public) for each in (public, hidden))
    assert scenarios_below(scores, other) == ["Social"]
    assert verdict(public, hidden, {}) == "overfitted to the public worlds"


def test_a_run_with_other_digits_is_not_reproduced():
    assert verdict(rows(0.5), rows(0.5, (ZERO,)), {"a run": [], "another": ["returns"]}) == "not reproduced"


def test_the_interval_of_one_scenario_is_that_of_students_test():
    public, other = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.5, 3.0, 3.1])
    found = difference({"Video": public}, {"Video": other})
    expected = stats.ttest_ind(other, public).confidence_interval()
    assert found.value == pytest.approx(2.65 - 7 / 3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("num_others", [3, 10])
def test_about_one_honest_agent_in_a_hundred_is_called_overfitted(num_others):
    generator, num_called, num_covering = np.random.default_rng(1), 0, 0
    for _ in range(1_000):
        public = {name: generator.normal(size=3) for name in "abcde"}
        other = {name: generator.normal(size=num_others) for name in "abcde"}
        num_called += difference(public, other, 0.99).high < 0.0 or bool(scenarios_below(public, other, 0.99))
        found = difference(public, other)
        num_covering += found.low <= 0.0 <= found.high
    assert num_called <= 20
    assert 0.93 <= num_covering / 1_000 <= 0.97


def test_one_run_of_a_scenario_has_no_interval():
    with pytest.raises(ResultsError, match="at least 2 seeds"):
        difference({"Video": np.array([1.0])}, {"Video": np.array([1.0, 2.0])})


def test_an_oracle_below_random_gives_no_scores():
    public = [{**row, "return_mean": 1.0} if row["agent"] == ONE else row for row in rows(0.5)]
    with pytest.raises(ResultsError, match="there are no scores"):
        gains_by_scenario(public, "mine", public)
