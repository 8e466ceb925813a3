"""Why an agent ranks an item where it does: what the item's score owes to each item shown before.

For every model that scores candidates: it reads the history once whole, and once without each of its rows.

Shape legend: H rows of an observed history, R of them in use, V variants, M candidates.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsim_env.simulation.observation import FEEDBACK, ObservationLayout

if TYPE_CHECKING:
    from agents.agent import Observations

_SHOWN = FEEDBACK.index("shown")
_EMPTY = {"history_items": -1}
"""Values of unused rows, where they are not 0."""


class Reason(NamedTuple):
    """What one item shown before, with its feedback, does for a candidate."""

    row: int
    """Its place in the history, from 0 for the oldest."""
    item: int
    """Its number in the catalogue; -1 if the agent's observations do not contain it."""
    effect: float
    """The candidate's score minus its score if that item had not been shown, each relative to the mean score of all
    candidates; negative if the feedback counts against the candidate."""
    instead: int
    """Place of the candidate that would then be the best."""


class Explanation(NamedTuple):
    """Why a candidate has its score, in units of the score."""

    candidate: int
    """Its place among the candidates."""
    score: float
    """Relative to the mean score of all candidates."""
    reasons: tuple[Reason, ...]
    """The strongest effects first."""
    sources: dict[str, float]
    """The score minus the score with each source of information replaced by that of an average candidate; empty for
    agents that do not distinguish sources."""


def explain(
    candidate_scores: Callable[["Observations"], np.ndarray],
    observations: "Observations",
    candidate: int | None = None,
    layout: ObservationLayout | None = None,
) -> Explanation:
    """Explain the score of a candidate, by default of the best, in a batch of one observation.

    Args:
        candidate_scores: batches of observations to scores of the candidates [n, M].
        observations: with a history.
        candidate: its place among the candidates.
        layout: of `"full"` observations.

    Raises:
        ValueError: there are several sessions, or there is no such candidate.
        NotImplementedError: the observations have no history.
    """
    number = len(candidate_mask(observations))
    if number != 1:
        raise ValueError(f"observations: {number} sessions, must be 1")
    variants = without_each_row(observations, layout)
    scores = relative_scores(candidate_scores(variants), candidate_mask(variants))  # [1 + R, M]
    chosen = int(scores[0].argmax()) if candidate is None else candidate
    if not (0 <= chosen < scores.shape[1] and np.isfinite(scores[0, chosen])):
        number = int(np.isfinite(scores[0]).sum())
        raise ValueError(f"candidate={candidate}: must be one of the {number} candidates, from 0")
    return explanation(observations, scores, chosen)


def explanation(observations: "Observations", scores: np.ndarray, chosen: int) -> Explanation:
    """Of the candidate at place `chosen`, from the relative scores [1 + R, M] of `without_each_row`."""
    num_rows = len(scores) - 1
    items = observations.get("history_items", np.full((1, num_rows), -1))[0, :num_rows][::-1]  # the oldest first
    reasons = [
        Reason(row, int(items[row]), float(scores[0, chosen] - scores[1 + row, chosen]), int(best))
        for row, best in enumerate(scores[1:].argmax(1))
    ]
    return Explanation(
        candidate=chosen,
        score=float(scores[0, chosen]),
        reasons=tuple(sorted(reasons, key=lambda reason: -abs(reason.effect))),
        sources={},
    )


def candidate_mask(observations: "Observations") -> np.ndarray:
    """[n, M] bool: which candidates exist, of `"full"` or `"compact"` observations."""
    if "candidate_mask" in observations:
        return observations["candidate_mask"] > 0
    return observations["candidate_items"] >= 0


def relative_scores(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[n, M] float64: scores minus their mean over the candidates in the mask; -inf for the others."""
    scores = scores.astype(np.float64)
    means = scores.sum(1, keepdims=True, where=mask) / mask.sum(1, keepdims=True)
    return np.where(mask, scores - means, -np.inf)


def without_each_row(observations: "Observations", layout: ObservationLayout | None = None) -> "Observations":
    """[1 + R]: one observed session as it is, and without each row of its history, the oldest first."""
    num_rows = num_history_rows(observations, layout)
    return without_rows(observations, ~np.eye(1 + num_rows, num_rows, -1, dtype=np.bool_), layout)


def num_history_rows(observations: "Observations", layout: ObservationLayout | None = None) -> int:
    """R, of one observed session."""
    parts = _history_parts(observations, layout)
    if "history_items" in parts:
        return int((parts["history_items"][0] >= 0).sum())
    return int((parts["history"][0, :, -len(FEEDBACK) + _SHOWN] > 0).sum())


def without_rows(
    observations: "Observations", kept: np.ndarray, layout: ObservationLayout | None = None
) -> "Observations":
    """[V]: one observed session with only some rows of its history, `kept` [V, R] bool, the oldest first.

    What the platform itself derives from the history, such as its prediction for each candidate, stays as observed.
    """
    num_variants, num_rows = kept.shape
    variants = {name: np.repeat(part, num_variants, 0) for name, part in observations.items()}
    for name, part in _history_parts(observations, layout).items():
        left = np.full((num_variants, *part.shape[1:]), _EMPTY.get(name, 0), part.dtype)
        for variant, is_kept in zip(left, kept[:, ::-1], strict=True):  # observed with the newest first
            rows = part[0, :num_rows][is_kept]
            variant[: len(rows)] = rows
        variants[name] = left.reshape(variants[name].shape)
    return variants


def _history_parts(observations: "Observations", layout: ObservationLayout | None) -> dict[str, np.ndarray]:
    """[n, H, columns] each: the parts of observations that have a row for each item shown, the newest first."""
    names = [name for name in ("history", "history_items", "history_feedback") if name in observations]
    if not names:
        raise NotImplementedError("these observations have no history, so there are no reasons for a score")
    if "history_items" in names:
        length = observations["history_items"].shape[1]
    else:
        assert layout is not None, "of full observations"
        length = layout.history_length
    return {name: observations[name].reshape(len(observations[name]), length, -1) for name in names}
