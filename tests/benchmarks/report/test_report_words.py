"""Sentences of the report that depend on who is there, and are left out or put otherwise where they would be false."""

import pytest
from test_report import ENDS, of, tiny

from benchmarks.analysis.leaderboard import Board
from benchmarks.report.report_words import against_popularity, answer, definitions


@pytest.mark.parametrize("filter_has", [20.0, 10.0])
@pytest.mark.parametrize("name", ["bayes-filter", "bayes-filter-observed"])
def test_no_share_is_given_of_a_bayes_filter_that_is_not_above_random(name, filter_has):
    says = answer(Board(tiny(of("ppo", 50.0), of(name, filter_has, family="reference"))), [])[1]
    assert "Bayes-filter player" in says
    assert "of that" not in says


def test_no_share_is_given_where_the_bayes_filter_may_be_no_better_than_random_or_the_winner_is_worse():
    told = [of("bayes-filter", value, seed=n, family="reference") for n, value in enumerate((19.0, 60.0))]
    rows = [
        *(of(agent, v, seed=n) for agent, v in ENDS for n in range(2)),
        *(of("ppo", 50.0, seed=n) for n in range(2)),
    ]
    assert "of that" not in answer(Board([*rows, *told]), [])[1]
    loser = tiny(of("ppo", 10.0), of("bayes-filter", 50.0, family="reference"))
    assert "of that" not in answer(Board(loser), [])[1]
    assert (
        "ppo has 50% of that"
        in answer(Board(tiny(of("ppo", 40.0), of("bayes-filter", 60.0, family="reference"))), [])[1]
    )


def test_who_learnt_from_answers_about_the_evaluations_items_is_named_if_there():
    last = definitions(Board(tiny(of("ppo", 50.0))))[-1]
    assert last.endswith("of users and items that training never saw.")
    both = tiny(of("item-knn", 50.0), of("ppo", 50.0), of("matrix-factorization", 50.0))
    assert definitions(Board(both))[-1].endswith(
        "training never saw, except item-knn and matrix-factorization, which learnt from other people's answers about "
        "the evaluation's items."
    )


def test_an_agent_of_ones_own_that_learns_on_the_evaluations_items_is_named_and_one_that_is_gone_is_no_error():
    own, gone = "agents.supervised.item_knn:ItemKNN", "gone_module:Gone"
    last = definitions(Board(tiny(of(own, 50.0, family="own"), of(gone, 50.0, family="own"))))[-1]
    assert f"except {own}, which learnt" in last


def test_intervals_speak_of_other_seeds_only_where_there_are_several():
    of_one = " ".join(definitions(Board(tiny(of("ppo", 50.0)))))
    assert "other sessions alone" in of_one
    assert "It speaks of other seeds" not in of_one
    two = [of(agent, value, seed=n) for n in range(2) for agent, value in (*ENDS, ("ppo", 50.0))]
    of_two = " ".join(definitions(Board(two)))
    assert "It speaks of other seeds" in of_two
    assert "other sessions alone" not in of_two


def test_a_learner_that_never_met_popularity_is_not_said_to_lose_to_it():
    elsewhere = [of("pqn", 50.0, "News"), of("a2c", 50.0, seed=1)]
    rows = tiny(of("popularity", 30.0), of("ppo", 50.0), *elsewhere)
    assert against_popularity(Board(rows)) == [
        "Every learner that can be compared with it beats popularity in at least one scenario.",
        "Above popularity in every scenario: ppo.",
    ]
    assert against_popularity(Board(tiny(of("popularity", 30.0), *elsewhere))) == []
