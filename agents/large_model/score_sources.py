"""What each source of information on an item contributes to the large model's score of it.

Shape legend: M candidates, J features that change over time.
"""

from typing import TYPE_CHECKING, Any

import torch

from agents.networks.item_content import DYNAMICS, ITEM_STATE, SIMILARITIES
from recsim_env.simulation.observation import RELEVANCE_COLUMNS

if TYPE_CHECKING:
    from agents.large_model.session_state import Observation, SessionState

SOURCES: dict[str, tuple[str, ...]] = {
    "statistics": ITEM_STATE,
    "platform's prediction": RELEVANCE_COLUMNS,
    "similarity to items shown": SIMILARITIES,
    "clicks on it and its creator": ("plays", "followed"),
}
"""`DYNAMICS` with information about a candidate, by the name of the source; the rest is its content."""

CONTENT = "content"


@torch.no_grad()
def source_effects(state: "SessionState", observation: "Observation", chosen: int) -> dict[str, float]:
    """The score of a candidate minus its score with each source replaced by that of an average candidate.

    Args:
        state: of one session, which has read the observation.
        observation: of one session.
        chosen: place of the candidate.
    """
    mask = observation.candidates[0] >= 0
    dynamics, items = state.dynamics(observation), state.candidate_items(observation)

    def score(**replaced: torch.Tensor) -> float:
        scores = state.scores(observation, **{"dynamics": dynamics, "items": items, **replaced})
        values = scores.logits[0] * scores.temperature
        return float(values[chosen] - values[mask].mean())

    def averaged(table: torch.Tensor, columns: Any) -> torch.Tensor:
        changed = table.clone()
        changed[0, chosen, columns] = table[0, mask][:, columns].mean(0)
        return changed

    before = score()
    effects = {
        name: before - score(dynamics=averaged(dynamics, [DYNAMICS.index(each) for each in names]))
        for name, names in SOURCES.items()
    }
    return {**effects, CONTENT: before - score(items=averaged(items, slice(None)))}
