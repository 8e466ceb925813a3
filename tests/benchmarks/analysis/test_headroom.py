"""The headroom ladder: its agents are in order, and ratios of gains are of the same seeds."""

import numpy as np
import pytest
from made_rows import final_row, made_rows

from agents.registry import Entry, entry_named
from benchmarks.analysis.bootstrap import Estimate, Runs, bootstrap_runs
from benchmarks.analysis.headroom import GAINS, gains, ladder_runs, ratio_of_gains
from benchmarks.running.run import Run
from benchmarks.suites import LADDER, Suite

NAMES = ("Social", "Music", "Video")  # in Ecommerce purchases are too rare for a test
SMALL = Suite(
    name="small", scenarios=NAMES, agents=LADDER, num_seeds=1, num_steps=20_000, num_evaluations=1, num_sessions=300
)
SEARCH = {"weight_candidates": (0.0, 3.0), "num_tuning_sessions": 80}
SETTINGS = {
    "history-blind": {**SEARCH, "temperatures": (0.3,), "num_users": 48},
    "bayes-filter": {**SEARCH, "num_particles": 96},
    "bayes-filter-observed": {**SEARCH, "num_particles": 96, "num_catalogs": 4, "num_epochs": 6},
    "lookahead-oracle": SEARCH,
    "planning-oracle": {**SEARCH, "num_value_steps": 100_000, "num_search_rounds": 1, "num_search_sessions": 300},
}
"""Settings of a small ladder."""
_ladders: dict[str, list] = {}


def small_ladder(name: str) -> list:
    """Rows of a small ladder; the planning oracle, which is the slowest, runs in Video only."""
    if name not in _ladders:
        _ladders[name] = []
        for agent in LADDER:
            if agent == "planning-oracle" and name != "Video":
                continue
            entry = entry_named(agent)
            small = Entry(path=entry.path, family=entry.family, settings=SETTINGS.get(agent, entry.settings))
            _ladders[name] += Run(suite=SMALL, agent=agent, entry=small, task=name, seed=0).execute()
    return _ladders[name]


def returns_in(name: str) -> dict[str, np.ndarray]:
    """Returns of the sessions of a small ladder."""
    return {row["agent"]: np.array(row["returns"]) for row in small_ladder(name) if row["is_final"]}


def runs_in(name: str) -> dict[str, Runs]:
    return ladder_runs(bootstrap_runs(small_ladder(name)), name)


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
CLOSE = {("Music", "linucb", "history-blind"), ("Video", "popularity", "history-blind")}
"""Agents that are equally good."""

STEPS = [(name, *pair) for name in NAMES for pair in ORDER if (name, *pair) not in CLOSE]


@pytest.mark.parametrize(("name", "lower", "higher"), STEPS)
def test_agents_of_the_ladder_are_in_order(name, lower, higher):
    returns = returns_in(name)
    gain = returns[higher] - returns[lower]
    assert gain.mean() > 1.5 * gain.std() / np.sqrt(len(gain))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("agent", ["lookahead-oracle", "bayes-filter"])
def test_personalisation_and_memory_pay(name, agent):
    runs = runs_in(name)
    ratio = ratio_of_gains(runs[agent], runs["history-blind"], runs["random"])
    assert ratio.value > 1.15
    assert ratio.low > 1.0


@pytest.mark.parametrize("name", ["Video", "Social"])
def test_lookahead_pays_where_actions_have_consequences(name):
    runs = runs_in(name)
    ratio = ratio_of_gains(runs["lookahead-oracle"], runs["myopic-oracle"], runs["random"])
    assert ratio.value > 1.05
    assert ratio.low > 1.0


def test_planning_pays_in_video():
    returns, ratios = returns_in("Video"), gains(runs_in("Video"))
    assert set(ratios) == set(GAINS)
    assert min(ratio.value for name, ratio in ratios.items() if name != "planning") > 1.15
    gain = returns["planning-oracle"] - returns["lookahead-oracle"]
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(len(gain))


def ratio_of(upper: list[float], lower: list[float], at_random: list[float]) -> Estimate | None:
    """The ratio of gains of agents whose returns with each seed are given."""
    returns = {"lookahead-oracle": upper, "history-blind": lower, "random": at_random}
    rows = [final_row(agent, x, seed=seed) for agent, of_agent in returns.items() for seed, x in enumerate(of_agent)]
    return ratio_of_gains(*(bootstrap_runs(rows)[agent].returns["Video"] for agent in returns))


def test_the_ratio_of_gains_is_of_means_over_random():
    at_random, lower = [1.0, 2.0, 3.0, 2.0], [3.0, 4.0, 5.0, 4.0]
    constant = ratio_of([7.0, 8.0, 9.0, 8.0], lower, at_random)
    assert (constant.value, constant.low, constant.high) == pytest.approx((3.0, 3.0, 3.0))
    ratio = ratio_of([3.0, 6.0, 9.0, 10.0], lower, at_random)
    assert ratio.value == pytest.approx(5.0 / 2.0)
    assert ratio.low < ratio.value < ratio.high


def test_more_sessions_of_a_seed_do_not_narrow_a_ratio_of_several_seeds():
    gains_of = {"random": [0.0] * 3, "history-blind": [1.0] * 3, "lookahead-oracle": [1.0, 2.0, 3.0]}
    widths = []
    for num_sessions in (10, 1_000):
        rows = [
            final_row(agent, value, seed=seed, returns=[value - 1.0, value + 1.0] * (num_sessions // 2))
            for agent, values in gains_of.items()
            for seed, value in enumerate(values)
        ]
        runs = bootstrap_runs(rows)
        ratio = ratio_of_gains(
            *(runs[agent].returns["Video"] for agent in ("lookahead-oracle", "history-blind", "random"))
        )
        widths.append(ratio.high - ratio.low)
    assert widths[0] == widths[1] > 2.0


@pytest.mark.parametrize("lower", [[2.0, 2.0, 2.0], [2.0, 1.0, 1.0], [0.0, 8.0, 8.0]])
def test_without_a_measurable_gain_there_is_no_ratio(lower):
    assert ratio_of([5.0, 6.0, 7.0], lower, [2.0, 2.0, 2.0]) is None


@pytest.mark.parametrize(("num_seeds", "least"), [(3, 0.88), (10, 0.93)])
def test_intervals_of_ratios_cover_the_true_one(num_seeds, least):
    generator, num_covered, agents = (
        np.random.default_rng(num_seeds),
        0,
        ("lookahead-oracle", "history-blind", "random"),
    )
    for n in range(200):
        catalogues = generator.normal(0.0, 2.0, num_seeds)
        rows = [
            final_row(agent, float(value), seed=seed)
            for agent, mean, slope in zip(agents, (20.0, 12.0, 4.0), (2.0, 1.0, 0.5), strict=True)
            for seed, value in enumerate(mean + slope * catalogues + generator.normal(0.0, 1.0, num_seeds))
        ]
        runs = bootstrap_runs(rows, seed=n)
        ratio = ratio_of_gains(*(runs[agent].returns["Video"] for agent in agents))
        num_covered += ratio.low <= 2.0 <= ratio.high
    assert num_covered / 200 >= least


def test_only_seeds_that_all_agents_of_the_ladder_have_are_compared():
    rows = [row for row in made_rows(num_seeds=3) if (row["agent"], row["seed"]) != ("random", 1)]
    runs = ladder_runs(bootstrap_runs(rows), "Video")
    assert set(runs) <= set(LADDER)
    assert {tuple(of_agent.seeds) for of_agent in runs.values()} == {(0, 2)}
    assert ladder_runs(bootstrap_runs(rows), "Nowhere") == {}
