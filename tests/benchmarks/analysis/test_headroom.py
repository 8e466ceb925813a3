"""The headroom ladder: its rungs stand in order, and its ratios are computed on paired sessions."""

import numpy as np
import pytest
from made_rows import made_rows

from agents.registry import Entry, entry_named
from benchmarks.analysis.headroom import CLAIMS, claims, headroom_table, ratio_of_gains, returns_of
from benchmarks.running.run import Cell, run_cell
from benchmarks.suites import LADDER, Suite

NAMES = ("Ecommerce", "Social", "Music", "Video", "News")
SMALL = Suite(scenarios=NAMES, agents=LADDER, num_seeds=1, num_steps=20_000, num_evaluations=1, num_sessions=120)
SEARCH = {"weight_candidates": (0.0, 3.0), "num_tuning_sessions": 80}
SETTINGS = {
    "history-blind": {**SEARCH, "temperatures": (0.3,), "num_people": 48},
    "bayes-filter": {**SEARCH, "num_particles": 96},
    "bayes-filter-observed": {**SEARCH, "num_particles": 96, "num_catalogs": 4, "num_epochs": 6},
    "lookahead-oracle": SEARCH,
    "planning-oracle": {**SEARCH, "num_futures": 2, "num_options": 20},
}
"""What makes a ladder small enough for a test."""
_climbed: dict[str, list] = {}


def climbed(name: str) -> dict[str, np.ndarray]:
    """Returns of a small ladder's rungs; the planning oracle, which takes longest, stands on that of Video alone."""
    if name not in _climbed:
        _climbed[name] = []
        for agent in LADDER:
            if agent == "planning-oracle" and name != "Video":
                continue
            entry = entry_named(agent)
            small = Entry(path=entry.path, family=entry.family, settings=SETTINGS.get(agent, entry.settings))
            where = {"task": name, "scenario": name, "seed": 0}
            _climbed[name] += run_cell(Cell(suite_name="small", suite=SMALL, agent=agent, entry=small, **where))
    return returns_of(_climbed[name], name)


ORDER = [
    ("random", "popularity"),
    ("random", "linucb"),
    ("linucb", "eb-linucb"),
    ("eb-linucb", "bayes-filter"),
    ("linucb", "history-blind"),
    ("popularity", "history-blind"),
    ("history-blind", "bayes-filter"),
    ("history-blind", "myopic-oracle"),
    ("eb-linucb", "bayes-filter-observed"),
    ("bayes-filter-observed", "bayes-filter"),
    ("bayes-filter", "lookahead-oracle"),
]
CLOSE = {("Music", "linucb", "history-blind")}
"""Rungs that are as good as each other: 126 and 124 stars after 50,000 steps, two seeds."""

STEPS = [(name, *pair) for name in NAMES for pair in ORDER if (name, *pair) not in CLOSE]


@pytest.mark.parametrize(("name", "lower", "higher"), STEPS)
def test_rungs_of_every_scenario_stand_in_order(name, lower, higher):
    returns = climbed(name)
    gain = returns[higher] - returns[lower]
    assert gain.mean() > 1.5 * gain.std() / np.sqrt(len(gain))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rung", ["myopic-oracle", "bayes-filter"])
def test_personalising_and_remembering_pay_in_every_scenario(name, rung):
    returns = climbed(name)
    ratio, low, _ = ratio_of_gains(returns[rung], returns["history-blind"], returns["random"])
    assert ratio > 1.15
    assert low > 1.0


@pytest.mark.parametrize("name", ["Video", "News", "Social"])
def test_foresight_pays_where_today_has_consequences(name):
    returns = climbed(name)
    ratio, low, _ = ratio_of_gains(returns["lookahead-oracle"], returns["myopic-oracle"], returns["random"])
    assert ratio > 1.1
    assert low > 1.0


def test_planning_pays_in_video():
    returns = climbed("Video")
    ratios = {claim: ratio for claim, (ratio, _, _) in claims(returns).items()}
    assert set(ratios) == set(CLAIMS)
    assert min(ratios.values()) > 1.15
    gain = returns["planning-oracle"] - returns["myopic-oracle"]
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(len(gain))


def test_ratio_of_gains_is_that_of_means_over_random_with_an_interval_around_it():
    at_random, lower = np.array([1.0, 2.0, 3.0, 2.0]), np.array([3.0, 4.0, 5.0, 4.0])
    assert ratio_of_gains(at_random + 6.0, lower, at_random) == pytest.approx((3.0, 3.0, 3.0))
    upper = at_random + np.array([2.0, 4.0, 6.0, 8.0])
    ratio, low, high = ratio_of_gains(upper, lower, at_random)
    assert ratio == pytest.approx(5.0 / 2.0)
    assert 1.0 <= low < ratio < high <= 4.0


def test_the_table_has_the_rungs_from_the_top_and_the_claims():
    rows = made_rows(num_seeds=2, num_sessions=50)
    table = headroom_table(rows, "Video").splitlines()
    rungs = [line.split("|")[1].strip() for line in table if line.startswith("| ")]
    returns = returns_of(rows, "Video")
    assert rungs == ["rung", *sorted(returns, key=lambda agent: -returns[agent].mean())]
    assert set(returns) <= set(LADDER)
    assert all(len(of_agent) == 100 for of_agent in returns.values())
    assert any(line.startswith("| planning-oracle | 1.00 | ") for line in table)
    assert any(line.startswith("| random | 0.00 | ") for line in table)
    assert headroom_table(rows, "Nowhere") == ""


def test_only_seeds_that_all_rungs_have_are_compared():
    rows = [row for row in made_rows(num_seeds=3) if (row["agent"], row["seed"]) != ("random", 1)]
    assert {len(of_agent) for of_agent in returns_of(rows, "Video").values()} == {200}


def test_scores_of_the_ladder_leave_out_the_runs_that_have_none():
    rows = made_rows(num_seeds=2, num_sessions=50)
    fewer = [row for row in rows if (row["agent"], row["seed"]) != ("random", 1)]
    assert "| popularity | nan" not in headroom_table(fewer, "Video")
    assert "| planning-oracle | 1.00 |" in headroom_table(fewer, "Video")
