"""The scale of scores: the return of one reference is 0, that of a better one is 1.

Without a positive scale there is no score: where the second reference does not return more than the first, the caller
names the world and leaves it out, or stops if it has no other. The width of a scale is never replaced by a small
number, which would turn the noise of the references into scores of any size.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from benchmarks.rows import ResultsError

World = TypeVar("World", bound=Hashable)


def has_scale(zero: Any, one: Any) -> bool:
    """Whether the return `one` is above the return `zero`; of arrays, everywhere."""
    return bool(np.all(np.less(zero, one)))


def score(returns: Any, zero: Any, one: Any) -> Any:
    """(returns − zero) / (one − zero), for numbers or arrays, which are broadcast.

    Raises:
        ResultsError: there is no scale, as `one` is not above `zero`.
    """
    if not has_scale(zero, one):
        raise ResultsError("no scale: the reference with the score 1 is not above the one with the score 0")
    return np.subtract(returns, zero) / np.subtract(one, zero)


def with_scale(references: Mapping[World, tuple[Any, Any]]) -> dict[World, tuple[Any, Any]]:
    """The worlds that have a scale, with the returns that are 0 and 1.

    Raises:
        ResultsError: there is none.
    """
    found = {world: ends for world, ends in references.items() if has_scale(*ends)}
    if not found:
        raise ResultsError("no scores: in no world is the reference with the score 1 above the one with the score 0")
    return found


def without_scores(worlds: Iterable[str], zero: str, one: str) -> str:
    """A line below a table with the names of the worlds without a scale, after an empty line; empty if there are none.

    `zero` and `one` are the names of the references.
    """
    names = "; ".join(worlds)
    return f"\nWithout scores, as {one} does not return more than {zero}: {names}.\n" if names else ""
