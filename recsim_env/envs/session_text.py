"""A session in text: items shown, their feedback, and the candidates."""

from typing import Any

import numpy as np

from recsim_env.envs.session_recording import ShownItem, shown_items
from recsim_env.simulation.observation import CANDIDATE_COLUMNS
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.simulator import Simulator

_MAX_CANDIDATES = 10
_TITLE_WIDTH = 60


def session_as_text(simulator: Simulator, lane: int) -> str:
    """Several lines about one session, without latent state."""
    session, items = simulator.sessions[lane], simulator.world.items
    length = simulator.config.session_length
    lines = [f"{simulator.world.scenario.name} · step {int(session['step'])} of {length}"]
    history = shown_items(simulator, lane)
    for number, shown in enumerate(history, start=int(session["num_shown"]) - len(history) + 1):
        feedback = _feedback(shown, simulator.layout.has_purchases)
        lines.append(f"  {number:4d}. {_title(items, shown.item)}  {feedback}")
    lines.append("  candidates:")
    observation: Any = simulator.observe("full", np.array([lane]))
    statistics = observation["candidates"].reshape(simulator.layout.candidates_shape)[:, -len(CANDIDATE_COLUMNS) :]
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
    """The title, cut to the width of the column, with the id of the ratings log that the item comes from."""
    title: str = items.title(item)
    own_id = f" [{items.ids[item]}]" if items.ids is not None and items.ids[item] != title else ""
    width = max(_TITLE_WIDTH - len(own_id), 1)
    return ((title if len(title) <= width else title[: width - 1] + "…") + own_id).ljust(_TITLE_WIDTH)


def _feedback(shown: ShownItem, is_shop: bool) -> str:
    slot = f"slot {int(shown.slot) + 1}: " if shown.slot else ""
    if not shown.click:
        return f"{slot}skipped"
    return f"{slot}consumed {shown.consumption:4.0%}, {rating_text(shown, is_shop)}"


def rating_text(shown: ShownItem, is_shop: bool) -> str:
    """`★★★★☆`, to the nearest half star (`★★★½☆`); `not bought` or `not rated`."""
    if shown.rating:
        stars, half = divmod(round(2.0 * shown.rating), 2)
        return "★" * stars + "½" * half + "☆" * (5 - stars - half)
    return "not bought" if shown.is_refused(is_shop) else "not rated"
