"""Which items are on the shelf while the platform's time goes on, and which of them a session is offered.

Shape legend: I items, M candidates, L items in the library.
"""

from numba import njit

from recsim_env.random_streams import Purpose, integer_in, stream, uniform_in, uniform_pair_in
from recsim_env.records import LIBRARY_SIZE, NO_ITEM


@njit(cache=True)
def first_item_after(items, now, delay):
    """Index of the first item of the catalogue that was released after `now - delay`; release steps ascend."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if items[middle].release_step + delay <= now:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def find_shelf(session, items, p):
    """What is released by now and not yet retired is on the shelf, in order of release."""
    now = session.start_step + session.step
    session.end_item = first_item_after(items, now, 0)
    session.first_new_item = first_item_after(items, now, p.new_item_age)
    low, high = 0, session.end_item
    while low < high:  # retirement steps ascend too
        middle = (low + high) // 2
        if items[middle].retire_step <= now:
            low = middle + 1
        else:
            high = middle
    session.first_item = low
    session.first_new_item = max(session.first_new_item, low)


@njit(cache=True)
def move_shelf(session, items, p):
    """Part 6, arrivals: the shelf one step later."""
    now = session.start_step + session.step
    while session.end_item < len(items) and items[session.end_item].release_step <= now:
        session.end_item += 1
    while session.first_item < session.end_item and items[session.first_item].retire_step <= now:
        session.first_item += 1
    if p.new_item_share > 0.0:
        session.first_new_item = max(session.first_new_item, session.first_item)
        while (
            session.first_new_item < session.end_item
            and items[session.first_new_item].release_step + p.new_item_age <= now
        ):
            session.first_new_item += 1


@njit(cache=True)
def draw_candidates(session, p):
    """Draw M distinct items from the shelf; NO_ITEM where it is too short.

    The shelf is cut into as many strata as there are items to draw, at a place that is drawn, and each stratum gives
    one: all items are equally likely, and no candidate is drawn twice. A share can come from the new items and from
    the library instead (`CatalogConfig.new_item_share`, `repeat_share`).
    """
    num_candidates = len(session.candidates)
    num_available = session.end_item - session.first_item
    draws = stream(session.world_key, session.step, Purpose.ROTATION)
    # Strata are dealt to places with a stride that is coprime with M, from a place that is drawn.
    stride = _coprime_stride(num_candidates)
    place = integer_in(draws, 0, num_candidates)
    if p.new_item_share == 0.0:
        num_drawn = min(num_candidates, num_available)
        place = _draw_strata(session, session.first_item, num_available, num_drawn, 0, place, stride)
    else:
        num_new_available = session.end_item - session.first_new_item
        num_old_available = num_available - num_new_available
        num_new = min(int(p.new_item_share * num_candidates + 0.5), num_new_available)
        num_old = min(num_candidates - num_new, num_old_available)
        num_new = min(num_candidates - num_old, num_new_available)
        num_drawn = num_new + num_old
        place = _draw_strata(session, session.first_new_item, num_new_available, num_new, 0, place, stride)
        place = _draw_strata(session, session.first_item, num_old_available, num_old, num_new, place, stride)
    for _ in range(num_drawn, num_candidates):
        session.candidates[place] = NO_ITEM
        place = (place + stride) % num_candidates
    if p.repeat_share > 0.0:
        _draw_repeats(session, int(p.repeat_share * num_candidates + 0.5), draws, place, stride)


@njit(cache=True)
def _coprime_stride(number):
    """A whole number near .62 `number` that has no divisor in common with it (1 if there is none)."""
    stride = max(int(0.618 * number), 1)
    while True:
        a, b = number, stride
        while b:
            a, b = b, a % b
        if a == 1:
            return stride
        stride -= 1


@njit(cache=True)
def _draw_strata(session, first_item, num_available, num_drawn, purpose_index, place, stride):
    """Draw `num_drawn` distinct items of [first_item, first_item + num_available); the next free place."""
    num_candidates = len(session.candidates)
    if num_drawn == 0:
        return place
    draws = stream(session.world_key, session.step, Purpose.CANDIDATES)
    rotation = integer_in(draws, purpose_index, num_available)
    width = num_available / num_drawn
    low = 0
    second = 0.0
    for j in range(num_drawn):
        high = int((j + 1) * width) if j + 1 < num_drawn else num_available
        if j % 2 == 0:
            chance, second = uniform_pair_in(draws, num_candidates + purpose_index + j)
        else:
            chance = second
        at = rotation + low + int(chance * (high - low))
        session.candidates[place] = first_item + (at - num_available if at >= num_available else at)
        low = high
        place += stride
        if place >= num_candidates:
            place -= num_candidates
    return place


@njit(cache=True)
def _draw_repeats(session, num_repeats, draws, place, stride):
    """Put items of the library that are still on the shelf in the place of other candidates."""
    num_candidates = len(session.candidates)
    start = int(uniform_in(draws, 1) * LIBRARY_SIZE)
    for offset in range(LIBRARY_SIZE):
        item = session.library[(start + offset) % LIBRARY_SIZE]
        if num_repeats == 0:
            return
        if item < session.first_item or item >= session.end_item:  # NO_ITEM is below every shelf
            continue
        is_there = False
        for m in range(num_candidates):
            is_there = is_there or session.candidates[m] == item
        if not is_there:
            session.candidates[place] = item
            place = (place + stride) % num_candidates
            num_repeats -= 1
