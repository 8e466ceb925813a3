"""Why the large model ranks an item where it does: what its score owes to each item shown before, and to each source.

Shape legend: R rows of the history, M candidates, J features that change over time.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agents.large_model.reasons import (
    Explanation,
    check_single,
    chosen_candidate,
    explanation,
    relative_scores,
    without_each_row,
)
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
    check_single(observations)
    if not reads_history:
        observations = {**observations, "history_items": np.full_like(observations["history_items"], -1)}
    batch = ObservationReader(simulator, network.schema, network.device)(without_each_row(observations))
    state = SessionState.of(network, simulator.config, content, *batch.items.shape)
    state.start(batch)
    scores = _relative_scores(state, batch)  # [1 + R, M]
    chosen = chosen_candidate(scores[0], candidate)
    return explanation(observations, scores, chosen, _sources(state, batch, chosen))


def _relative_scores(state: SessionState, observation: Observation, **replaced: torch.Tensor) -> np.ndarray:
    """[n, M]: `relative_scores` of the candidates."""
    scores = state.scores(observation, **replaced)
    values = scores.logits * scores.temperature
    return relative_scores(values.numpy(force=True), observation.candidates.numpy(force=True))


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
