"""Runs that are not of the same seeds: what is compared then, and what the report says of it."""

import numpy as np
import pytest
from test_report import ENDS, of, tiny

from benchmarks.analysis.bootstrap import draw_runs
from benchmarks.analysis.leaderboard import Board
from benchmarks.analysis.scores import compared_seeds, scales, scored
from benchmarks.report.report_words import answer, how_sure


def ends_of_seeds(num_seeds: int, scenario: str = "Video", rise: float = 0.0) -> list[dict]:
    """Both references; with each seed all returns are `rise` higher than with the one before."""
    return [of(agent, value + rise * n, scenario, n) for agent, value in ENDS for n in range(num_seeds)]


def test_only_runs_of_seeds_that_both_references_have_are_scored_and_only_those_make_the_scale():
    rows = [*ends_of_seeds(1), of("random", 500.0, seed=1), of("ppo", 30.0), of("ppo", 600.0, seed=1)]
    assert scales(rows) == {"Video": (20.0, 60.0)}
    assert [row.get("score") for row in scored(rows)] == [0.0, 1.0, None, 0.25, None]
    assert draw_runs(rows)["ppo"].scores["Video"].seeds == [0]
    assert draw_runs(rows)["ppo"].returns["Video"].seeds == [0, 1]


def test_who_ran_with_an_easy_seed_besides_is_ranked_without_it():
    rows = [*ends_of_seeds(2, rise=100.0), of("ppo", 40.0), of("ppo", 150.0, seed=1), of("pqn", 42.0)]
    board = Board(rows)
    assert compared_seeds(rows) == {"Video": [0]}
    assert [(each.agent, each.score.value) for each in board.deployable] == [("pqn", 0.55), ("ppo", 0.5)]
    assert [board.by_agent[agent].score.value for agent, _ in ENDS] == [0.0, 1.0]
    assert "Ranked by the seeds that every ranked agent has: Video 1 of 2." in answer(board, [])
    assert answer(board, [])[0].startswith("On 1 scenario × 1 seed, **pqn**")


def test_who_has_no_place_takes_no_seed_from_those_who_have():
    both = [*ends_of_seeds(2), *ends_of_seeds(2, "News")]
    ppo = [of("ppo", 40.0, where, n) for where in ("Video", "News") for n in range(2)]
    assert compared_seeds([*both, *ppo, of("pqn", 40.0)]) == {"Video": [0, 1], "News": [0, 1]}


def test_without_a_seed_that_all_have_the_runs_that_there_are_are_ranked_and_the_report_says_so():
    board = Board([*ends_of_seeds(2), of("ppo", 40.0), of("pqn", 50.0, seed=1)])
    assert [each.agent for each in board.deployable] == ["pqn", "ppo"]
    assert sum("not of the same seeds in Video" in line for line in answer(board, [])) == 1
    even = Board([*ends_of_seeds(2), *(of("ppo", 40.0, seed=n) for n in range(2))])
    assert not any("same seeds" in line or "Ranked by" in line for line in answer(even, []))


def test_a_draw_takes_the_same_seeds_of_every_agent_and_of_the_references():
    rows = [of(agent, value + 100.0 * n, seed=n) for agent, value in (*ENDS, ("ppo", 30.0)) for n in range(4)]
    found = draw_runs([*rows, *(of("pqn", 50.0 + 100.0 * n, seed=n) for n in (1, 3))])
    scores = found["ppo"].scores["Video"].drawn().mean(1)
    assert scores == pytest.approx(0.25), "the scale moves with the seeds that are drawn"
    ppo, pqn = (found[agent].returns["Video"].drawn() for agent in ("ppo", "pqn"))
    shared = np.isin(ppo[:, :2], (130.0, 330.0))
    assert (pqn - ppo[:, :2])[shared] == pytest.approx(20.0)
    shares = [(pqn == 50.0 + 100.0 * seed).mean() for seed in (1, 3)]
    assert shares == pytest.approx([1 / 2] * 2, abs=0.05), "each of its seeds is as likely"


def test_with_several_seeds_session_noise_is_counted_once_and_with_one_it_is_all_there_is():
    generator = np.random.default_rng(0)
    rows = ends_of_seeds(5)
    for n in range(5):
        returns = generator.normal(40.0, 20.0, 10)
        rows.append(of("ppo", returns.mean(), seed=n, returns=returns.tolist()))
    values = np.array([row["return_mean"] for row in rows if row["agent"] == "ppo"])
    several = draw_runs(rows, num_draws=4_000)["ppo"].returns["Video"]
    assert several.drawn().mean(1).std() == pytest.approx(values.std() / np.sqrt(5), rel=0.05)
    assert set(np.unique(several.drawn())) == set(values)
    one = several.of_seeds([2])
    assert one.drawn().std() == pytest.approx(np.std(rows[-3]["returns"]) / np.sqrt(10), rel=0.05)


def test_one_seed_of_the_winner_is_called_one_seed_whatever_others_have():
    pair = [*ends_of_seeds(12), *(of("a2c", 25.0, seed=n) for n in range(12))]
    assert "with one seed nothing is known" in how_sure(Board([*pair, of("ppo", 50.0)]))
    in_news = [*ends_of_seeds(12, "News"), *(of("ppo", 50.0, seed=n) for n in range(12)), of("ppo", 50.0, "News")]
    assert "with one seed, as in News, nothing is known" in how_sure(Board([*pair, *in_news]))
    assert how_sure(Board(pair)) == ""


def test_the_interval_of_a_lead_holds_0_only_if_0_is_in_it():
    values = [(of("ppo", 100.0), of("pqn", 10.0)), (of("ppo", 30.0, seed=1), of("pqn", 40.0, seed=1))]
    rows = [*ends_of_seeds(2), *(row for pair in values for row in pair)]
    assert "holds 0" in answer(Board(rows), [])[0]
    assert "holds 0" not in answer(Board(tiny(of("ppo", 40.0), of("pqn", 30.0))), [])[0]
    negative = Board([*ends_of_seeds(3), of("ppo", 90.0), of("ppo", 30.0, seed=1), *of_next()])
    assert negative.lead("ppo", "pqn").high < 0.0
    assert "holds 0" not in answer(negative, [])[0]


def of_next() -> list[dict]:
    """Runs of the next that beat the winner's with the one seed that they share, while no seed is of all agents."""
    return [of("pqn", 40.0, seed=1), of("pqn", 35.0, seed=2), of("a2c", 21.0, seed=2)]
