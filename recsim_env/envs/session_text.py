"""A session in words, for people: what was shown, what came of it, and what could be shown next."""

import numpy as np

from recsim_env.simulation.observation import CANDIDATE_COLUMNS
from recsim_env.simulation.records import HISTORY_FEEDBACK, NO_ITEM
from recsim_env.simulation.simulator import Simulator

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
        feedback = dict(zip(HISTORY_FEEDBACK, session["history_feedback"][row].tolist(), strict=True))
        lines.append(f"  {shown + 1:4d}. {_title(items, item)}  {_answer(feedback, simulator.layout.has_purchases)}")
    lines.append("  could be shown next:")
    observation = simulator.observe("flat", np.array([lane]))[0]  # type: ignore[index]
    candidates = simulator.layout.parts(observation)["candidates"].reshape(simulator.layout.candidates_shape)
    statistics = candidates[:, -len(CANDIDATE_COLUMNS) :]
    is_listed = 0
    for place, item in enumerate(session["candidates"]):
        if item == NO_ITEM or is_listed == _MAX_CANDIDATES:
            continue
        is_listed += 1
        known = dict(zip(CANDIDATE_COLUMNS, statistics[place].tolist(), strict=True))
        answers = f"{known['click_rate']:4.0%} click, {5 * known['mean_rating']:.1f} stars"
        told = answers if known["mean_rating"] else "new, nothing known"
        lines.append(f"  [{place:3d}] {_title(items, int(item))}  {told}")
    left = int((session["candidates"] != NO_ITEM).sum()) - is_listed
    if left:
        lines.append(f"        and {left} more")
    return "\n".join(lines)


def _title(items, item: int) -> str:
    title = items.title(item)
    return (title if len(title) <= _TITLE_WIDTH else title[: _TITLE_WIDTH - 1] + "…").ljust(_TITLE_WIDTH)


def _answer(feedback: dict[str, float], is_shop: bool) -> str:
    place = f"slot {int(feedback['slot']) + 1}: " if feedback["slot"] else ""
    if not feedback["click"]:
        return f"{place}skipped"
    num_stars = int(feedback["rating"])
    stars = "★" * num_stars + "☆" * (5 - num_stars)
    if not num_stars:
        stars = "not bought" if is_shop and not feedback["purchase"] else "not rated"
    return f"{place}consumed {feedback['consumption']:4.0%}, {stars}"
