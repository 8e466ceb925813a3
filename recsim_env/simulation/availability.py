"""The items available at a time on the platform, and the candidates drawn from them.

Shape legend: I items, M candidates, L recently consumed items.
"""

import numpy as np

from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.random_streams import Purpose, combine, integer_in, stream, wrapping
from recsim_env.simulation.records import NO_ITEM, NUM_RECENT_ITEMS

_GOLDEN_32, _MULTIPLIER_1, _MULTIPLIER_2 = np.uint32(0x9E3779B9), np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
_SHIFT_15, _SHIFT_16, _SHIFT_32 = np.uint32(15), np.uint32(16), np.uint64(32)


@compiled
def first_item_after(items, now, delay):
    """Index of the first item of the catalogue released after `now - delay`; release steps ascend."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if items[middle].release_step + delay <= now:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def find_available_items(session, items, p):
    """Find the items that are released and not retired; they are contiguous, in order of release."""
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


@compiled
def update_available_items(session, items, p):
    """Part 6, arrivals: update the available items after one step."""
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


@compiled
def draw_candidates(session, items, p):
    """Draw M distinct candidates from the available items; NO_ITEM where there are too few. A custom user model can
    replace this function, for candidates that depend on the user; see `custom_user_model`.

    `CatalogConfig.new_item_share` and `repeat_share` set the shares of new items and of recently consumed ones. Their
    positions are random, too; `relevance.arrange_candidates` sorts them.
    """
    candidates = session.candidates
    num_candidates = len(candidates)
    num_available = session.end_item - session.first_item
    draws = stream(session.world_key, session.step, Purpose.CANDIDATES)
    if p.new_item_share == 0.0:
        num_drawn = min(num_candidates, num_available)
        _draw_strata(candidates[:num_drawn], session.first_item, num_available, draws)
        _leave_empty(candidates, num_drawn)
    else:
        num_new_available = session.end_item - session.first_new_item
        num_old_available = num_available - num_new_available
        num_new = min(int(p.new_item_share * num_candidates + 0.5), num_new_available)
        num_old = min(num_candidates - num_new, num_old_available)
        num_new = min(num_candidates - num_old, num_new_available)
        _draw_strata(candidates[:num_new], session.first_new_item, num_new_available, draws)
        old = candidates[num_new : num_new + num_old]
        _draw_strata(old, session.first_item, num_old_available, combine(draws, 2))
        _leave_empty(candidates, num_new + num_old)
        _rotate(candidates, integer_in(draws, 3, num_candidates))
    if p.repeat_share > 0.0:
        _draw_repeats(session, int(p.repeat_share * num_candidates + 0.5), draws)


@compiled
def _leave_empty(candidates, start):
    for m in range(start, len(candidates)):
        candidates[m] = NO_ITEM


@compiled
def _draw_strata(positions, first_item, num_available, key):
    """Fill all positions with distinct items of [first_item, first_item + num_available), each equally likely.

    Stratified sampling on a ring with a random origin: one stratum of equal width for each position, one item from
    each stratum. Draws are a 32-bit hash, and the loop has no branches, so that it is vectorised.
    """
    if len(positions) == 0:
        return
    width = num_available // len(positions)
    rotation, seed = integer_in(key, 0, num_available), combine(key, 1)
    low_seed, high_seed = np.uint32(seed), np.uint32(seed >> _SHIFT_32)
    for m in range(len(positions)):
        bits = np.uint64(_hash_32(np.uint32(m), low_seed, high_seed))
        offset = rotation + m * width + np.int64((bits * np.uint64(width)) >> _SHIFT_32)
        positions[m] = first_item + (offset - num_available if offset >= num_available else offset)


@wrapping
def _hash_32(number, seed, salt):
    """32 random bits from a number and two times 32 bits (constants of Wellons' `lowbias32`, 2018)."""
    x = np.uint32(seed + np.uint32(number * _GOLDEN_32))
    x = np.uint32((x ^ (x >> _SHIFT_16)) * _MULTIPLIER_1)
    x = np.uint32((x ^ (x >> _SHIFT_15) ^ salt) * _MULTIPLIER_2)
    return np.uint32(x ^ (x >> _SHIFT_16))


@compiled
def _rotate(candidates, by):
    """Rotate the candidates by `by` positions, in place, by three reversals."""
    num_candidates = len(candidates)
    for first, end in ((0, num_candidates), (0, by), (by, num_candidates)):
        for k in range((end - first) // 2):
            one, other = first + k, end - 1 - k
            candidates[one], candidates[other] = candidates[other], candidates[one]


@compiled
def is_candidate(session, item):
    """Whether the item with this id is among the candidates."""
    found = False
    for m in range(len(session.candidates)):
        found = found or session.candidates[m] == item
    return found


@compiled
def _draw_repeats(session, num_repeats, draws):
    """Replace some candidates by recently consumed items that are still available."""
    num_candidates = len(session.candidates)
    start, position = integer_in(draws, 4, NUM_RECENT_ITEMS), integer_in(draws, 5, num_candidates)
    for offset in range(NUM_RECENT_ITEMS):
        item = session.recent_items[(start + offset) % NUM_RECENT_ITEMS]
        if num_repeats == 0:
            return
        if item < session.first_item or item >= session.end_item:  # NO_ITEM is below every available item
            continue
        if not is_candidate(session, item):
            session.candidates[position] = item
            position = (position + 1) % num_candidates
            num_repeats -= 1
