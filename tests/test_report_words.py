"""Sentences of the report that depend on who is there, and are left out or put otherwise where they would be false."""

import pytest
from test_report import ENDS, of, tiny

from benchmarks.board import Board
from benchmarks.report_words import answer


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
