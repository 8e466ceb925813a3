"""Retention: paired differences by hand, the best agent, and the table."""

import pytest

from benchmarks.analysis.retention import best_agents, conclusions, difference, mean, table


def row(agent: str, days: list[int], assumption: str = "preset", left: tuple[int, ...] = (0, 1, 0, 1)) -> dict:
    visits = [2 * each for each in days]
    return {"agent": agent, "assumption": assumption, "has_left": [*left], "num_visits": visits, "active_days": days}


def test_differences_are_paired_life_by_life():
    first, second = row("first", [1, 5, 9, 13]), row("second", [2, 6, 10, 16])
    # Differences 1, 1, 1, 3: mean 1.5, standard deviation 1, standard error 0.5; t with 3 degrees of freedom: 3.18245.
    assert difference(second, first, "active_days") == pytest.approx((1.5, 1.5 - 1.59122, 1.5 + 1.59122))
    value, low, high = mean(first, "active_days")
    assert value == 7.0
    assert high - low > 5 * 1.59  # users differ more than agents


def test_rows_of_other_lives_are_not_paired():
    with pytest.raises(ValueError, match="rows of 3 and 4 lives cannot be paired"):
        difference(row("a", [1, 2, 3]), row("b", [1, 2, 3, 4]), "active_days")


def test_an_agent_that_is_not_significantly_worse_is_named_beside_the_best():
    rows = [row("worse", [1, 2, 3, 4]), row("best", [3, 4, 5, 7]), row("near", [5, 4, 2, 7])]
    assert best_agents(rows) == ("best", ["near"])
    assert "| preset | best | near |" in conclusions(rows)


def test_the_table_has_each_assumption_and_differences_to_the_first_agent():
    rows = [
        row("first", [1, 5, 9, 13]),
        row("second", [2, 6, 10, 16], left=(0, 0, 0, 0)),
        row("first", [1, 1, 1, 1], "return_rate = 1"),
        row("second", [2, 2, 2, 2], "return_rate = 1"),
    ]
    lines = table(rows).splitlines()
    assert lines[0].endswith("| left, less first | visits, less first | active days, less first |")
    assert "| preset | second | 0.00 ± 0.00 |" in lines[3]
    assert lines[3].endswith("| -0.50 ± 0.92 | +3.00 ± 3.18 | +1.50 ± 1.59 |")
    assert lines[4].startswith("| return_rate = 1 | first | 0.50 ± 0.92 | 2.00 ± 0.00 | 1.00 ± 0.00 |")
    assert lines[5].endswith("| +0.00 ± 0.00 | +2.00 ± 0.00 | +1.00 ± 0.00 |")
