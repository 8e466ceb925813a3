"""Rows of slates below the lowest click are no answers, as in the simulator."""

import numpy as np

from agents.large_model.serving.observations import LAST_SLOT, feedback_rows, is_answer


def rows_of(*slates: str) -> np.ndarray:
    """Slates in words: a letter for each slot, `c` for a click."""
    rows = [
        (min(slot, LAST_SLOT), float(word == "c"), 0, 0, 0, 0) for slate in slates for slot, word in enumerate(slate)
    ]
    return feedback_rows(np.array(rows, np.float64))


def test_slots_below_the_lowest_click_are_no_answers():
    assert is_answer(rows_of(".c.", "..", "c.c.", ".")).tolist() == [
        *(True, True, False),
        *(True, True),
        *(True, True, True, False),
        True,
    ]


def test_single_items_are_all_answers():
    assert is_answer(rows_of("c", ".", "c", "c", ".")).all()


def test_long_slates_are_told_apart():
    found = is_answer(rows_of("." * 11 + "c" + "..", "c" + "." * 12))
    assert found.tolist() == [True] * 12 + [False] * 2 + [True] + [False] * 12


def test_a_history_that_starts_within_a_slate_is_read():
    assert is_answer(rows_of("..c.", "c.")[2:]).tolist() == [True, False, True, False]
    assert is_answer(np.zeros((0, 7), np.float32)).tolist() == []
