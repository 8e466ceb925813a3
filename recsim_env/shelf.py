"""Which items are on the shelf while the platform's time goes on, and which of them a session is offered.

Shape legend: I items, M candidates, L items in the library.
"""

import numpy as np
from numba import njit

from recsim_env.random_streams import Purpose, combine, integer_in, stream
from recsim_env.records import LIBRARY_SIZE, NO_ITEM

_LOW_32, _GOLDEN_32 = np.uint64(0xFFFFFFFF), np.uint64(0x9E3779B9)
_MULTIPLIER_1, _MULTIPLIER_2 = np.uint64(0x7FEB352D), np.uint64(0x846CA68B)
_SHIFT_15, _SHIFT_16, _SHIFT_32 = np.uint64(15), np.uint64(16), np.uint64(32)


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

    The shelf, bent into a ring and opened at a place that is drawn, is cut into as many strata as there are items to
    draw, and each stratum gives one: all items are equally likely, and none is drawn twice. A share can come from the
    new items and from the library instead (`CatalogConfig.new_item_share`, `repeat_share`). Candidates stand in a ring
    too, which begins at a place that is drawn: a candidate's place says nothing about it.
    """
    num_candidates = len(session.candidates)
    num_available = session.end_item - session.first_item
    draws = stream(session.world_key, session.step, Purpose.CANDIDATES)
    place = integer_in(draws, 0, num_candidates)
    if p.new_item_share == 0.0:
        num_drawn = min(num_candidates, num_available)
        _draw_strata(session, session.first_item, num_available, num_drawn, place, combine(draws, 1))
    else:
        num_new_available = session.end_item - session.first_new_item
        num_old_available = num_available - num_new_available
        num_new = min(int(p.new_item_share * num_candidates + 0.5), num_new_available)
        num_old = min(num_candidates - num_new, num_old_available)
        num_new = min(num_candidates - num_old, num_new_available)
        num_drawn = num_new + num_old
        _draw_strata(session, session.first_new_item, num_new_available, num_new, place, combine(draws, 1))
        next_place = (place + num_new) % num_candidates
        _draw_strata(session, session.first_item, num_old_available, num_old, next_place, combine(draws, 2))
    for j in range(num_drawn, num_candidates):
        session.candidates[(place + j) % num_candidates] = NO_ITEM
    if p.repeat_share > 0.0:
        _draw_repeats(session, int(p.repeat_share * num_candidates + 0.5), draws)


@njit(cache=True)
def _draw_strata(session, first_item, num_available, num_drawn, place, key):
    """Draw `num_drawn` distinct items of [first_item, first_item + num_available) into the places from `place` on."""
    if num_drawn == 0:
        return
    rotation = integer_in(key, 0, num_available)
    num_places = min(len(session.candidates) - place, num_drawn)
    seed, width = combine(key, 1), num_available / num_drawn
    _fill(session.candidates[place : place + num_places], first_item, num_available, width, rotation, 0, seed)
    rest = session.candidates[: num_drawn - num_places]
    _fill(rest, first_item, num_available, width, rotation, num_places, seed)


@njit(cache=True)
def _fill(places, first_item, num_available, width, rotation, first_stratum, seed):
    """One item of each stratum. Draws are a 32-bit hash of seed and stratum, as a processor takes many of these at
    once (the constants are those of Wellons' `lowbias32`, 2018)."""
    low_seed, high_seed = seed & _LOW_32, seed >> _SHIFT_32
    for i in range(len(places)):
        j = first_stratum + i
        x = (low_seed + np.uint64(j) * _GOLDEN_32) & _LOW_32
        x = ((x ^ (x >> _SHIFT_16)) * _MULTIPLIER_1) & _LOW_32
        x = ((x ^ (x >> _SHIFT_15) ^ high_seed) * _MULTIPLIER_2) & _LOW_32
        x = x ^ (x >> _SHIFT_16)
        low, high = np.int64(j * width), min(np.int64((j + 1) * width), num_available)
        at = rotation + low + np.int64((x * np.uint64(high - low)) >> _SHIFT_32)
        places[i] = first_item + (at - num_available if at >= num_available else at)


@njit(cache=True)
def _draw_repeats(session, num_repeats, draws):
    """Put items of the library that are still on the shelf in the place of other candidates."""
    num_candidates = len(session.candidates)
    start, place = integer_in(draws, 3, LIBRARY_SIZE), integer_in(draws, 4, num_candidates)
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
            place = (place + 1) % num_candidates
            num_repeats -= 1
