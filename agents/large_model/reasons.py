"""What a score owes to each item shown before, by leaving one out at a time; in NumPy, for any model that scores.

Shape legend: R rows of the history, H of an observed one, M candidates.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from recsim_env.simulation.observation import FEEDBACK


class Reason(NamedTuple):
    """What the feedback to one item shown before does for a candidate."""

    row: int
    """Its place in the history, from 0 for the oldest."""
    item: int
    effect: float
    """The candidate's score less its score if that item had not been shown, each relative to the mean score of all
    candidates; negative if the feedback counts against it."""
    instead: int
    """The item that would be the best then."""


class Explanation(NamedTuple):
    """Why a candidate has its score, in units of the score."""

    item: int
    score: float
    """Relative to the mean score of all candidates."""
    reasons: tuple[Reason, ...]
    """The strongest effects first."""
    sources: dict[str, float]
    """The score less that with each source as it is for an average candidate; empty where that is unknown."""


def check_single(observations: Mapping[str, np.ndarray]) -> None:
    """`ValueError` unless it is a batch of one session."""
    number = len(observations["candidate_items"])
    if number != 1:
        raise ValueError(f"observations: {number} sessions, must be 1")


def without_each_row(observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """[1 + R]: a batch of one compact observation as it is, and without each row of its history, the oldest first."""
    num_rows = int((observations["history_items"] >= 0).sum())
    batch = {name: np.repeat(part, 1 + num_rows, 0) for name, part in observations.items()}
    feedback = batch["history_feedback"].reshape(1 + num_rows, -1, len(FEEDBACK))  # a view
    for row in range(num_rows):
        place = num_rows - 1 - row  # the newest stands first
        for part, padding in ((batch["history_items"], -1), (feedback, 0.0)):
            part[1 + row, place:-1] = part[1 + row, place + 1 :].copy()
            part[1 + row, -1] = padding
    return batch


def relative_scores(scores: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """[n, M]: scores less their mean over the candidates; -inf for missing ones."""
    is_there = candidates >= 0
    means = np.where(is_there, scores, 0.0).sum(1, keepdims=True) / is_there.sum(1, keepdims=True)
    return np.where(is_there, scores - means, -np.inf)


def chosen_candidate(scores: np.ndarray, candidate: int | None) -> int:
    """The place of a candidate, by default of the best one, among those with relative scores [M].

    Raises:
        ValueError: there is no such candidate.
    """
    chosen = int(scores.argmax()) if candidate is None else candidate
    is_there = np.isfinite(scores)
    if not (0 <= chosen < len(scores) and is_there[chosen]):
        raise ValueError(f"candidate={candidate}: must be one of the {int(is_there.sum())} candidates, from 0")
    return chosen


def explanation(
    observations: Mapping[str, np.ndarray], scores: np.ndarray, chosen: int, sources: dict[str, float]
) -> Explanation:
    """Of the candidate at place `chosen`, from the relative scores [1 + R, M] of `without_each_row`."""
    items, shown = observations["candidate_items"][0], observations["history_items"][0]
    oldest_first = shown[: len(scores) - 1][::-1]
    reasons = [
        Reason(row, int(item), float(scores[0, chosen] - scores[1 + row, chosen]), int(items[best]))
        for row, (item, best) in enumerate(zip(oldest_first, scores[1:].argmax(1), strict=True))
    ]
    return Explanation(
        item=int(items[chosen]),
        score=float(scores[0, chosen]),
        reasons=tuple(sorted(reasons, key=lambda reason: -abs(reason.effect))),
        sources=sources,
    )
