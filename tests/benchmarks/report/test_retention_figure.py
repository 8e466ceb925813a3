"""The figure of the command `retention`."""

import pytest

from benchmarks.report.figures.retention import retention


def row(agent: str, assumption: str, days: list[int]) -> dict:
    return {"agent": agent, "assumption": assumption, "has_left": [0, 1, 0], "active_days": days}


ROWS = [
    row(agent, assumption, [first, first + 1, first + 4])
    for assumption in ("preset", "return_rate = 1")
    for agent, first in (("popularity", 3), ("mine", 5))
]


def test_each_assumption_has_each_agent_and_its_difference_to_the_first():
    left, days = retention(ROWS).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["preset", "return_rate = 1"]
    assert left.yaxis_inverted()
    assert len(left.containers) == 2
    (differences,) = days.containers
    assert differences[0].get_xdata() == pytest.approx([2.0, 2.0])
    assert days.get_title() == "Active days, less those of popularity"


def test_one_agent_has_no_differences():
    (left,) = retention([each for each in ROWS if each["agent"] == "mine"]).axes
    assert left.get_title() == "Users who left"
