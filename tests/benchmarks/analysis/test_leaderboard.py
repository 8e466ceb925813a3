"""Scores, bootstrap intervals and ranks, by hand, with equal and with unequal seeds."""

import numpy as np
import pytest
from made_rows import ENDS, failed, final_row, with_references

from benchmarks.analysis.bootstrap import Estimate, bootstrap_runs, estimate
from benchmarks.analysis.leaderboard import Leaderboard
from benchmarks.analysis.scores import compared_seeds, final_rows, scales, scored


def references(num_seeds: int, scenario: str = "Video", rise: float = 0.0) -> list[dict]:
    """Both references; every seed adds `rise` to all returns."""
    return [final_row(agent, value + rise * n, scenario, n) for agent, value in ENDS for n in range(num_seeds)]


def test_a_score_is_linear_with_random_at_zero_and_the_planning_oracle_at_one():
    rows = [final_row("random", 18.0), final_row("random", 22.0, seed=1), final_row("planning-oracle", 60.0)]
    result = scored([*rows, final_row("ppo", 30.0), final_row("planning-oracle", 60.0, seed=1)])
    assert [row["score"] for row in result] == pytest.approx([-0.05, 0.05, 1.0, 0.25, 1.0])
    assert result[3]["score_sem"] == pytest.approx(1.0 / 40.0)
    assert "score" not in rows[0], "input rows are unchanged"


def test_no_scores_without_both_references_or_with_an_oracle_below_random():
    alone = [final_row("random", 20.0), final_row("ppo", 30.0)]
    below = [final_row(agent, value, "News") for agent, value in (("random", 20.0), ("planning-oracle", 19.0))]
    assert scales([*alone, *below]) == {}
    assert all("score" not in row for row in scored([*alone, *below]))


def test_no_scores_if_the_oracle_is_below_random_in_some_seeds():
    rows = [final_row("random", 5.0, seed=n) for n in range(5)]
    rows += [final_row("planning-oracle", 5.0 + rise, seed=n) for n, rise in enumerate((2.0, -1.5, 2.5, 1.0, -0.8))]
    rows += [final_row("ppo", 5.5, seed=n) for n in range(5)]
    leaderboard = Leaderboard([*rows, *references(2, "News"), *(final_row("ppo", 30.0, "News", n) for n in range(2))])
    assert leaderboard.without_scale == ["Video"]
    assert leaderboard.by_agent["ppo"].scores.keys() == {"News"}
    assert leaderboard.by_agent["ppo"].score.value == 0.25


def test_no_scores_if_the_oracle_is_below_random_in_many_sessions_of_one_seed():
    noisy = [20.0, -18.0] * 5
    rows = [final_row("random", 0.0), final_row("planning-oracle", 1.0, returns=noisy), final_row("ppo", 0.5)]
    assert Leaderboard(rows).without_scale == ["Video"]
    unpaired = [rows[0] | {"returns": [0.0] * 9}, *rows[1:]]
    assert Leaderboard(unpaired).without_scale == []


def test_few_draws_with_the_oracle_below_random_do_not_widen_the_intervals():
    rows = [final_row("random", 0.0, seed=n) for n in range(10)]
    rows += [final_row("planning-oracle", rise, seed=n) for n, rise in enumerate([2.0] * 9 + [-3.0])]
    rows += [final_row("ppo", -1.0, seed=n) for n in range(10)]
    runs = bootstrap_runs(rows)
    widths = runs["planning-oracle"].returns["Video"].resampled.mean(1)
    assert 0.0 < np.mean(widths <= 0.0) <= 0.025
    assert np.isfinite(runs["ppo"].scores["Video"].resampled).all()
    assert runs["ppo"].scores["Video"].resampled[widths <= 0.0] == pytest.approx(-1.0 / 1.5)


def test_only_final_rows_count_and_the_later_one_of_a_repeated_run():
    rows = [final_row("ppo", 1.0, is_final=False), final_row("ppo", 2.0), final_row("ppo", 3.0)]
    others = [failed(final_row("ppo", 0.0, seed=1)), final_row("pqn", 1.0, is_final=False)]
    assert [row["return_mean"] for row in final_rows([*rows, *others])] == [3.0]


def test_with_equal_sessions_the_draws_have_the_variance_of_the_mean_over_seeds():
    values = [30.0, 40.0, 50.0]
    rows = [*references(3), *(final_row("ppo", value, seed=n) for n, value in enumerate(values))]
    runs = bootstrap_runs(rows, num_draws=4_000)["ppo"].scores["Video"]
    means = runs.resampled.mean(1)
    assert runs.values == pytest.approx([0.25, 0.5, 0.75])
    assert means.mean() == pytest.approx(0.5, abs=0.01)
    assert means.std() == pytest.approx(np.std(values, ddof=1) / 3**0.5 / 40.0, rel=0.05)


def test_agents_are_resampled_alike_so_a_constant_difference_has_no_interval():
    of_seeds = np.random.default_rng(0).normal([[40.0], [50.0], [30.0]], 20.0, (3, 50))
    rows = [
        final_row(agent, returns.mean() + lead, seed=n, returns=(returns + lead).tolist())
        for agent, lead in (("random", -20.0), ("planning-oracle", 30.0), ("ppo", 5.0), ("popularity", 0.0))
        for n, returns in enumerate(of_seeds)
    ]
    leaderboard = Leaderboard(rows)
    lead, score = leaderboard.lead_in("Video", "ppo", "popularity"), leaderboard.by_agent["ppo"].scores["Video"]
    assert (lead.value, lead.low, lead.high) == pytest.approx((5.0, 5.0, 5.0))
    assert leaderboard.by_agent["ppo"].returns["Video"].high - leaderboard.by_agent["ppo"].returns["Video"].low > 3.0
    assert (score.value, score.low, score.high) == pytest.approx((0.5, 0.5, 0.5)), "the scale is resampled as well"


def test_pairs_are_runs_of_the_same_seed():
    others = [final_row("ppo", 30.0), final_row("ppo", 50.0, seed=1)]
    others += [final_row("pqn", 40.0, seed=1), final_row("pqn", 10.0, seed=7)]
    leaderboard = Leaderboard([*references(2), *others])
    assert leaderboard.improvement("ppo", "pqn").value == 1.0
    assert leaderboard.lead_in("Video", "ppo", "pqn").value == 10.0
    apart = Leaderboard(with_references(final_row("ppo", 30.0), final_row("pqn", 40.0, seed=1)))
    assert apart.improvement("ppo", "pqn") is None
    assert apart.lead_in("News", "ppo", "pqn") is None


def test_an_estimate_is_the_middle_95_percent_of_the_draws():
    middle = estimate(0.5, np.linspace(0.0, 1.0, 1_001))
    assert (middle.value, middle.low, middle.high) == pytest.approx((0.5, 0.025, 0.975))
    assert Estimate(value=-0.001, low=-0.004, high=1_234.0).text() == "0.00 (0.00 to 1,234.00)"


def test_only_agents_with_runs_in_every_scenario_are_ranked():
    rows = [*references(1), *references(1, "News"), final_row("ppo", 50.0), final_row("pqn", 30.0)]
    leaderboard = Leaderboard([*rows, final_row("pqn", 30.0, "News")])
    assert [standing.agent for standing in leaderboard.deployable] == ["pqn"]
    assert leaderboard.by_agent["ppo"].scores["Video"].value == 0.75


def test_only_seeds_of_both_references_are_scored_and_set_the_scale():
    rows = [*references(1), final_row("random", 500.0, seed=1), final_row("ppo", 30.0), final_row("ppo", 600.0, seed=1)]
    assert scales(rows) == {"Video": (20.0, 60.0)}
    assert [row.get("score") for row in scored(rows)] == [0.0, 1.0, None, 0.25, None]
    assert bootstrap_runs(rows)["ppo"].scores["Video"].seeds == [0]
    assert bootstrap_runs(rows)["ppo"].returns["Video"].seeds == [0, 1]


def test_agents_are_ranked_by_the_seeds_that_all_of_them_have():
    ppo = [final_row("ppo", 40.0), final_row("ppo", 150.0, seed=1)]
    rows = [*references(2, rise=100.0), *ppo, final_row("pqn", 42.0)]
    leaderboard = Leaderboard(rows)
    assert compared_seeds(rows) == {"Video": [0]}
    assert [(each.agent, each.score.value) for each in leaderboard.deployable] == [("pqn", 0.55), ("ppo", 0.5)]
    assert [leaderboard.by_agent[agent].score.value for agent, _ in ENDS] == [0.0, 1.0]


def test_unranked_agents_do_not_limit_the_compared_seeds():
    rows = [*references(2), *references(2, "News"), final_row("pqn", 40.0)]
    rows += [final_row("ppo", 40.0, where, n) for where in ("Video", "News") for n in range(2)]
    assert compared_seeds(rows) == {"Video": [0, 1], "News": [0, 1]}


def test_without_a_shared_seed_all_runs_are_ranked_and_the_scenario_is_named():
    leaderboard = Leaderboard([*references(2), final_row("ppo", 40.0), final_row("pqn", 50.0, seed=1)])
    assert [each.agent for each in leaderboard.deployable] == ["pqn", "ppo"]
    assert leaderboard.unevenly_compared == ["Video"]
    even = Leaderboard([*references(2), *(final_row("ppo", 40.0, seed=n) for n in range(2))])
    assert even.unevenly_compared == []


def test_a_draw_takes_the_same_seeds_of_every_agent_and_of_the_references():
    rows = [final_row(agent, value + 100.0 * n, seed=n) for agent, value in (*ENDS, ("ppo", 30.0)) for n in range(4)]
    runs = bootstrap_runs([*rows, *(final_row("pqn", 50.0 + 100.0 * n, seed=n) for n in (1, 3))])
    assert runs["ppo"].scores["Video"].resampled.mean(1) == pytest.approx(0.25), "the scale follows the seeds"
    ppo, pqn = (runs[agent].returns["Video"].resampled for agent in ("ppo", "pqn"))
    is_shared = np.isin(ppo[:, :1], (130.0, 330.0))
    assert (pqn - ppo[:, :1])[is_shared] == pytest.approx(20.0)
    shares = [(pqn == 50.0 + 100.0 * seed).mean() for seed in (1, 3)]
    assert shares == pytest.approx([1 / 2] * 2, abs=0.05), "its seeds are equally likely"


def test_sessions_are_resampled_only_where_there_is_one_seed():
    generator = np.random.default_rng(0)
    rows = references(5)
    for n in range(5):
        returns = generator.normal(40.0, 20.0, 10)
        rows.append(final_row("ppo", returns.mean(), seed=n, returns=returns.tolist()))
    values = np.array([row["return_mean"] for row in rows if row["agent"] == "ppo"])
    several = bootstrap_runs(rows, num_draws=4_000)["ppo"].returns["Video"]
    assert several.resampled.mean(1).std() == pytest.approx(values.std(ddof=1) / np.sqrt(5), rel=0.05)
    assert set(np.unique(several.resampled)) == set(values)
    one = several.of_seeds([2])
    assert one.resampled.std() == pytest.approx(np.std(rows[-3]["returns"]) / np.sqrt(10), rel=0.05)


def test_the_number_of_seeds_is_that_of_the_two_best_and_the_references():
    others = [*references(12), *(final_row("a2c", 25.0, seed=n) for n in range(12))]
    assert Leaderboard([*others, final_row("ppo", 50.0)]).num_seeds == {"Video": 1}
    assert Leaderboard(others).num_seeds == {"Video": 12}


def test_intervals_of_two_seeds_are_stretched_by_student_t():
    rows = [*references(2), final_row("ppo", 38.0), final_row("ppo", 42.0, seed=1)]
    found = Leaderboard(rows).by_agent["ppo"].returns["Video"]
    # The draws are the two runs; the quantile of t with 1 degree of freedom is 12.706.
    assert (found.value, found.low, found.high) == pytest.approx(
        (40.0, 40.0 - 2.0 * 6.483, 40.0 + 2.0 * 6.483), abs=0.01
    )


def test_variants_of_a_scenario_are_drawn_jointly():
    values = np.random.default_rng(0).normal(40.0, 4.0, 5)
    tasks = ("Video cold", "Video warm", "News cold")
    rows = [row for task in tasks for row in references(5, task)]
    rows += [final_row("ppo", value, task, n) for task in tasks for n, value in enumerate(values)]
    runs = bootstrap_runs(rows)["ppo"].returns
    assert (runs["Video cold"].resampled == runs["Video warm"].resampled).all()
    assert (runs["Video cold"].resampled != runs["News cold"].resampled).any()


@pytest.mark.parametrize(("num_scenarios", "num_seeds"), [(1, 3), (4, 2), (2, 10)])
def test_intervals_cover_the_true_score_with_few_seeds(num_scenarios, num_seeds):
    generator, num_covered, scenarios = np.random.default_rng(num_seeds), 0, ("Video", "News", "Music", "Social")
    for n in range(150):
        rows = [row for name in scenarios[:num_scenarios] for row in references(num_seeds, name)]
        for name in scenarios[:num_scenarios]:
            returns = generator.normal(40.0, 4.0, num_seeds)
            rows += [final_row("ppo", value, name, seed) for seed, value in enumerate(returns)]
        score = Leaderboard(rows, seed=n).by_agent["ppo"].score
        num_covered += score.low <= 0.5 <= score.high
    assert num_covered / 150 >= 0.9


def test_a_tier_has_the_agents_that_do_not_differ_from_its_best():
    generator, rows = np.random.default_rng(0), references(10)
    for agent, mean in (("a", 50.0), ("b", 49.9), ("c", 40.0), ("d", 39.9), ("e", 25.0)):
        rows += [final_row(agent, value, seed=seed) for seed, value in enumerate(generator.normal(mean, 1.0, 10))]
    leaderboard = Leaderboard(rows)
    assert leaderboard.tiers == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}
    assert sorted(leaderboard.first_tier) == ["a", "b"]


def test_a_leading_agent_of_one_seed_has_wide_intervals_of_improvement():
    rows = with_references(final_row("ppo", 50.0), final_row("pqn", 30.0))
    leaderboard = Leaderboard(rows)
    for is_paired in (True, False):
        found = leaderboard.improvement("ppo", "pqn", is_paired=is_paired)
        assert (found.value, found.low, found.high) == pytest.approx((1.0, 0.2065, 1.0), abs=1e-3)
