"""A session in text: items shown, their feedback, and the candidates."""

from typing import Any

import numpy as np

from recsim_env.simulation.observation import CANDIDATE_COLUMNS
from recsim_env.simulation.records import HISTORY_FEEDBACK, NO_ITEM
from recsim_env.simulation.simulator import Simulator

_MAX_CANDIDATES = 10
_TITLE_WIDTH = 60


def session_as_text(simulator: Simulator, lane: int) -> str:
    """Several lines about one session, without latent state."""
    session, items = simulator.sessions[lane], simulator.world.items
    length = simulator.config.session_length
    lines = [f"{simulator.world.scenario.name} · step {int(session['step'])} of {length}"]
    num_shown, rows = int(session["num_shown"]), simulator.config.history_length
    for shown in range(max(0, num_shown - rows), num_shown):
        row = shown % rows
        item = int(session["history_items"][row])
        feedback = dict(zip(HISTORY_FEEDBACK, session["history_feedback"][row].tolist(), strict=True))
        lines.append(f"  {shown + 1:4d}. {_title(items, item)}  {_feedback(feedback, simulator.layout.has_purchases)}")
    lines.append("  candidates:")
    observation = simulator.observe("flat", np.array([lane]))[0]  # type: ignore[index]
    candidates = simulator.layout.parts(observation)["candidates"].reshape(simulator.layout.candidates_shape)
    statistics = candidates[:, -len(CANDIDATE_COLUMNS) :]
    existing = np.flatnonzero(session["candidates"] != NO_ITEM)
    for place in existing[:_MAX_CANDIDATES].tolist():
        columns = dict(zip(CANDIDATE_COLUMNS, statistics[place].tolist(), strict=True))
        observed = f"click rate {columns['click_rate']:4.0%}, mean rating {5 * columns['mean_rating']:.1f}"
        title = _title(items, int(session["candidates"][place]))
        lines.append(f"  [{place:3d}] {title}  {observed if columns['mean_rating'] else 'no ratings yet'}")
    if len(existing) > _MAX_CANDIDATES:
        lines.append(f"        and {len(existing) - _MAX_CANDIDATES} more")
    return "\n".join(lines)


def _title(items: Any, item: int) -> str:
    title: str = items.title(item)
    return (title if len(title) <= _TITLE_WIDTH else title[: _TITLE_WIDTH - 1] + "…").ljust(_TITLE_WIDTH)


def _feedback(feedback: dict[str, float], is_shop: bool) -> str:
    slot = f"slot {int(feedback['slot']) + 1}: " if feedback["slot"] else ""
    if not feedback["click"]:
        return f"{slot}skipped"
    is_refused = is_shop and not feedback["purchase"]
    return f"{slot}consumed {feedback['consumption']:4.0%}, {rating_text(feedback['rating'], is_refused)}"


def rating_text(rating: float, is_refused: bool) -> str:
    """`★★★★☆`, `not bought` or `not rated`."""
    return "★" * int(rating) + "☆" * (5 - int(rating)) if rating else "not bought" if is_refused else "not rated"
