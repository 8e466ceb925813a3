"""Scores are shares of the gain of one reference over another; without such a gain there are none."""

import numpy as np
import pytest

from benchmarks.analysis.scale import has_scale, score, with_scale, without_scores
from benchmarks.rows import ResultsError


def test_a_score_is_linear_with_one_reference_at_zero_and_the_other_at_one():
    np.testing.assert_allclose(score([10.0, 15.0, 20.0, 5.0], 10.0, 20.0), [0.0, 0.5, 1.0, -0.5])
    np.testing.assert_allclose(score(np.full((2, 2), 3.0), [[1.0], [2.0]], [[5.0], [4.0]]), [[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize(("zero", "one"), [(2.0, 2.0), (2.0, 1.0), (2.0, np.nan), ([1.0, 2.0], [2.0, 2.0])])
def test_without_a_positive_scale_there_is_no_score(zero, one):
    assert not has_scale(zero, one)
    with pytest.raises(ResultsError, match="no scale"):
        score(3.0, zero, one)


def test_worlds_without_a_scale_are_left_out_and_named():
    references = {"Video": (1.0, 2.0), "News": (2.0, 1.0), "Music": (0.0, 0.0)}
    scales = with_scale(references)
    assert scales == {"Video": (1.0, 2.0)}
    line = without_scores(references.keys() - scales.keys() - {"Music"}, "random", "oracle")
    assert line == "\nWithout scores, as oracle does not return more than random: News.\n"
    assert without_scores([], "random", "oracle") == ""
    with pytest.raises(ResultsError, match="no scores"):
        with_scale({"News": (2.0, 1.0)})
