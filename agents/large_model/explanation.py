"""Why the large model ranks an item where it does: what its score owes to each item shown before, and to each source.

Shape legend: R rows of the history, H of an observed one, M candidates, J features that change over time.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from agents.large_model.session_state import Observation, ObservationReader, SessionState
from agents.networks.item_content import DYNAMICS, ITEM_STATE, SIMILARITIES
from recsim_env.simulation.observation import RELEVANCE_COLUMNS

if TYPE_CHECKING:
    from agents.large_model.model import LargeModelNetwork
    from agents.networks.item_content import ItemContent

SOURCES: dict[str, tuple[str, ...]] = {
    "statistics": ITEM_STATE,
    "platform's prediction": RELEVANCE_COLUMNS,
    "similarity to items shown": SIMILARITIES,
    "clicks on it and its creator": ("plays", "followed"),
}
"""`DYNAMICS` that tell the model something of a candidate, by the name of the source; the rest is its content."""

CONTENT = "content"


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
    """The score less that with each source as it is for an average candidate."""


@torch.no_grad()
def explain(
    network: "LargeModelNetwork",
    simulator: Any,
    content: "ItemContent",
    observations: dict[str, np.ndarray],
    candidate: int | None = None,
    reads_history: bool = True,
) -> Explanation:
    """Explain the score of a candidate, by default of the best, in a batch of one compact observation.

    The history is read as the observation has it, once whole and once without each of its rows, in one batch; without
    `reads_history` it is ignored, so that there are no reasons.

    Raises:
        ValueError: there are several sessions, or there is no such candidate.
    """
    number, num_candidates = observations["candidate_items"].shape
    if number != 1:
        raise ValueError(f"observations: {number} sessions, must be 1")
    observation = ObservationReader(simulator, network.schema, network.device)(observations)
    observation = observation if reads_history else observation.without_history()
    is_there = observation.candidates[0] >= 0
    num_rows = int(observation.num_rows[0])
    batch = _without_each_row(observation, num_rows)
    state = SessionState.of(network, simulator.config, content, 1 + num_rows, batch.items.shape[1])
    state.start(batch)
    scores = _relative_scores(state, batch)  # [1 + R, M]
    chosen = int(scores[0].argmax()) if candidate is None else candidate
    if not (0 <= chosen < num_candidates and is_there[chosen]):
        raise ValueError(f"candidate={candidate}: must be one of the {int(is_there.sum())} candidates, from 0")
    items, rows = observation.candidates[0], observation.items[0, :num_rows]
    reasons = [
        Reason(row, int(rows[row]), float(scores[0, chosen] - scores[1 + row, chosen]), int(items[best]))
        for row, best in enumerate(scores[1:].argmax(1).tolist())
    ]
    return Explanation(
        item=int(items[chosen]),
        score=float(scores[0, chosen]),
        reasons=tuple(sorted(reasons, key=lambda reason: -abs(reason.effect))),
        sources=_sources(state, batch, chosen),
    )


def _without_each_row(observation: Observation, num_rows: int) -> Observation:
    """[1 + R]: one session as it is, and without each of its rows."""
    parts = {name: part.expand(1 + num_rows, *part.shape[1:]).clone() for name, part in vars(observation).items()}
    for row in range(num_rows):
        for name in ("items", "feedback"):
            part = parts[name][1 + row]
            part[row:-1] = part[row + 1 :].clone()
            part[-1] = -1 if name == "items" else 0.0
    parts["num_rows"][1:] -= 1
    return Observation(**parts)


def _relative_scores(state: SessionState, observation: Observation, **replaced: torch.Tensor) -> torch.Tensor:
    """[n, M]: scores less their mean over the candidates; -inf for missing ones."""
    scores, mask = state.scores(observation, **replaced), observation.candidates >= 0
    values = scores.logits * scores.temperature
    means = values.where(mask, 0.0).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    return (values - means).masked_fill(~mask, -torch.inf)


def _sources(state: SessionState, batch: Observation, chosen: int) -> dict[str, float]:
    """`Explanation.sources`, from a state that has read the batch, whose first session is whole."""
    whole = torch.zeros(1, dtype=torch.int64, device=batch.candidates.device)
    state.select(whole)
    observation = batch.select(whole)
    mask = observation.candidates[0] >= 0
    dynamics, items = state.dynamics(observation), state.candidate_items(observation)
    before = _relative_scores(state, observation, dynamics=dynamics, items=items)[0, chosen]

    def without(table: torch.Tensor, columns: Any) -> torch.Tensor:
        changed = table.clone()
        changed[0, chosen, columns] = table[0, mask][:, columns].mean(0)
        return changed

    found = {}
    for name, names in SOURCES.items():
        columns = [DYNAMICS.index(each) for each in names]
        after = _relative_scores(state, observation, dynamics=without(dynamics, columns), items=items)
        found[name] = float(before - after[0, chosen])
    after = _relative_scores(state, observation, dynamics=dynamics, items=without(items, slice(None)))
    found[CONTENT] = float(before - after[0, chosen])
    return found
