"""A session in words, for people: what was shown, what came of it, and what could be shown next."""

import numpy as np

from recsim_env.observation import CANDIDATE_COLUMNS
from recsim_env.records import NO_ITEM
from recsim_env.simulator import Simulator

_MAX_CANDIDATES = 10
_TITLE_WIDTH = 60


def session_as_text(simulator: Simulator, lane: int) -> str:
    """Several lines on one session, made from what an agent may see too."""
    session, items = simulator.sessions[lane], simulator.world.items
    length = simulator.config.session_length
    lines = [f"{simulator.world.scenario.name} · step {int(session['step'])} of {length}"]
    num_shown, rows = int(session["num_shown"]), simulator.config.history_length
    for shown in range(max(0, num_shown - rows), num_shown):
        row = shown % rows
        item = int(session["history_items"][row])
        feedback = session["history_feedback"][row]
        lines.append(f"  {shown + 1:4d}. {_title(items, item)}  {_answer(*(float(x) for x in feedback))}")
    lines.append("  could be shown next:")
    observation = simulator.observe("flat", np.array([lane]))[0]  # type: ignore[index]
    candidates = simulator.layout.parts(observation)["candidates"].reshape(simulator.layout.candidates_shape)
    statistics = candidates[:, -len(CANDIDATE_COLUMNS) :]
    is_listed = 0
    for place, item in enumerate(session["candidates"]):
        if item == NO_ITEM or is_listed == _MAX_CANDIDATES:
            continue
        is_listed += 1
        _, _, click_rate, mean_rating, *_ = (float(x) for x in statistics[place])
        known = f"{click_rate:4.0%} click, {5 * mean_rating:.1f} stars" if mean_rating else "new, nothing known"
        lines.append(f"  [{place:3d}] {_title(items, int(item))}  {known}")
    left = int((session["candidates"] != NO_ITEM).sum()) - is_listed
    if left:
        lines.append(f"        and {left} more")
    return "\n".join(lines)


def _title(items, item: int) -> str:
    title = items.title(item)
    return (title if len(title) <= _TITLE_WIDTH else title[: _TITLE_WIDTH - 1] + "…").ljust(_TITLE_WIDTH)


def _answer(slot: float, click: float, consumption: float, rating: float) -> str:
    place = f"slot {int(slot) + 1}: " if slot else ""
    if not click:
        return f"{place}skipped"
    stars = "★" * int(rating) + "☆" * (5 - int(rating)) if rating else "not rated"
    return f"{place}consumed {consumption:4.0%}, {stars}"
