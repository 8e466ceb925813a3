"""Why an agent ranks an item where it does: what the item's score owes to each item shown before.

Works for every agent with `Agent.candidate_scores`: the history is read once whole, and once without each of its rows.

Shape legend: H rows of an observed history, R of them in use, V variants, M candidates.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsim_env.simulation.observation import FEEDBACK

if TYPE_CHECKING:
    from agents.agent import Agent, Observations

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
    """The candidate's score less its score if that item had not been shown, each relative to the mean score of all
    candidates; negative if the feedback counts against the candidate."""
    instead: int
    """Place of the candidate that would be the best then."""


class Explanation(NamedTuple):
    """Why a candidate has its score, in units of the score."""

    candidate: int
    """Its place among the candidates."""
    score: float
    """Relative to the mean score of all candidates."""
    reasons: tuple[Reason, ...]
    """The strongest effects first."""
    sources: dict[str, float]
    """The score less that with each source of information as it is for an average candidate; empty for agents that do
    not tell sources apart."""


def explain(agent: "Agent", observations: "Observations", candidate: int | None = None) -> Explanation:
    """Explain the score of a candidate, by default of the best, in a batch of one observation.

    Raises:
        ValueError: there are several sessions, or there is no such candidate.
        NotImplementedError: the agent does not rank by scores, or does not observe the history.
    """
    mask = candidate_mask(observations)
    if len(mask) != 1:
        raise ValueError(f"observations: {len(mask)} sessions, must be 1")
    num_rows = int(num_history_rows(agent, observations)[0])
    variants = without_rows(agent, observations, ~np.eye(1 + num_rows, num_rows, -1, dtype=np.bool_))
    scores = relative_scores(agent, variants)  # [1 + R, M]
    chosen = int(scores[0].argmax()) if candidate is None else candidate
    if not (0 <= chosen < mask.shape[1] and mask[0, chosen]):
        raise ValueError(f"candidate={candidate}: must be one of the {int(mask.sum())} candidates, from 0")
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


def num_history_rows(agent: "Agent", observations: "Observations") -> np.ndarray:
    """[n]: rows of the histories in use; `NotImplementedError` for observations without a history."""
    parts = _history_parts(agent, observations)
    if "history_items" in parts:
        return (parts["history_items"][:, :, 0] >= 0).sum(1)
    return (parts["history"][:, :, agent.layout.num_content_features + _SHOWN] > 0).sum(1)


def without_rows(agent: "Agent", observations: "Observations", kept: np.ndarray) -> "Observations":
    """[V]: one observed session with only some rows of its history, `kept` [V, R] bool, the oldest first.

    What the platform itself derives from the history, such as its prediction for each candidate, stays as observed.
    """
    num_variants, num_rows = kept.shape
    variants = {name: np.repeat(part, num_variants, 0) for name, part in observations.items()}
    for name, part in _history_parts(agent, observations).items():
        left = np.full((num_variants, *part.shape[1:]), _EMPTY.get(name, 0), part.dtype)
        for variant, is_kept in zip(left, kept[:, ::-1], strict=True):  # observed with the newest first
            rows = part[0, :num_rows][is_kept]
            variant[: len(rows)] = rows
        variants[name] = left.reshape(variants[name].shape)
    return variants


def relative_scores(agent: "Agent", observations: "Observations") -> np.ndarray:
    """[n, M]: scores less their mean over the candidates; -inf for missing ones."""
    scores, mask = agent.candidate_scores(observations).astype(np.float64), candidate_mask(observations)
    means = scores.sum(1, keepdims=True, where=mask) / mask.sum(1, keepdims=True)
    return np.where(mask, scores - means, -np.inf)


def _history_parts(agent: "Agent", observations: "Observations") -> dict[str, np.ndarray]:
    """[n, H, columns] each: the parts of observations that have a row for each item shown, the newest first."""
    names = [name for name in ("history", "history_items", "history_feedback") if name in observations]
    if not names:
        raise NotImplementedError(f"{type(agent).__name__}: does not observe the history, so there are no reasons")
    length = agent.layout.history_length if "history" in names else observations["history_items"].shape[1]
    return {name: observations[name].reshape(len(observations[name]), length, -1) for name in names}
