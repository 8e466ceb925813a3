"""The items available at a time on the platform, and the candidates drawn from them.

Shape legend: I items, M candidates, L recently consumed items.
"""

import math

import numpy as np

from recsim_env.config import CANDIDATE_SOURCES
from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.random_streams import Purpose, combine, integer_in, stream, wrapping
from recsim_env.simulation.records import NO_ITEM, NUM_RECENT_ITEMS
from recsim_env.simulation.relevance import mean_answer, predicted_deviation, refresh_of

_RANDOM, _POPULAR, _SIMILAR, _MIXED = (
    CANDIDATE_SOURCES.index(source) for source in ("random", "popular", "similar", "mixed")
)
_RETRIEVED = 4
"""Random items among which each candidate is the best, for sources other than `random`."""

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
    """Part 7, arrivals: update the available items after one step."""
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
def was_consumed(session, item, p):
    """Whether the user consumed the item with this id less than `repeat_after` steps ago.

    The consumed items are a hash table with linear probing, less than half full.
    """
    items, last = session.consumed_items, len(session.consumed_items) - 1
    entry = item & last
    while items[entry] != NO_ITEM:
        if items[entry] == item:
            return session.start_step + session.step - session.consumed_times[entry] < p.repeat_after
        entry = (entry + 1) & last
    return False


@compiled
def remember_consumed(session, item):
    """Enter the item with this id into the table of consumed items, at this step."""
    items, last = session.consumed_items, len(session.consumed_items) - 1
    entry = item & last
    while items[entry] != NO_ITEM and items[entry] != item:
        entry = (entry + 1) & last
    if items[entry] == NO_ITEM:
        if 2 * (session.num_remembered + 1) > last + 1:  # never so for sessions of a simulator
            return
        session.num_remembered += 1
    items[entry], session.consumed_times[entry] = item, session.start_step + session.step


@compiled
def forget_consumed(session):
    """Empty the table of consumed items, for a new user."""
    session.num_remembered = 0
    for entry in range(len(session.consumed_items)):
        session.consumed_items[entry] = NO_ITEM


@compiled
def draw_candidates(session, items, p):
    """Draw M distinct candidates from the available items; NO_ITEM where there are too few. A custom user model can
    replace this function, for candidates that depend on the user; see `custom_user_model`.

    Items consumed less than `repeat_after` steps ago are left out. `SessionConfig.candidates` names the source,
    `CatalogConfig.new_item_share` and `repeat_share` set the shares of new items and of recently consumed ones. Their
    positions are random, too; `relevance.arrange_candidates` sorts them.
    """
    candidates = session.candidates
    num_candidates = len(candidates)
    num_available = session.end_item - session.first_item
    draws = stream(session.world_key, session.step, Purpose.CANDIDATES)
    if p.new_item_share == 0.0:
        num_drawn = min(num_candidates, num_available)
        _draw_from(session, items, 0, num_drawn, session.first_item, num_available, draws, p)
        _leave_empty(candidates, num_drawn)
    else:
        num_new_available = session.end_item - session.first_new_item
        num_old_available = num_available - num_new_available
        num_new = min(int(p.new_item_share * num_candidates + 0.5), num_new_available)
        num_old = min(num_candidates - num_new, num_old_available)
        num_new = min(num_candidates - num_old, num_new_available)
        _draw_from(session, items, 0, num_new, session.first_new_item, num_new_available, draws, p)
        old_draws = combine(draws, 2)
        _draw_from(session, items, num_new, num_old, session.first_item, num_old_available, old_draws, p)
        _leave_empty(candidates, num_new + num_old)
        _rotate(candidates, integer_in(draws, 3, num_candidates))
    if p.repeat_share > 0.0:
        _draw_repeats(session, int(p.repeat_share * num_candidates + 0.5), draws, p)


@compiled
def _draw_from(session, items, position, num_drawn, first_item, num_available, draws, p):
    """Fill `num_drawn` candidates from `position` with distinct items of [first_item, first_item + num_available)."""
    if num_drawn == 0:
        return
    positions = session.candidates[position : position + num_drawn]
    _draw_strata(positions, first_item, num_available, draws)
    if p.candidate_source == _RANDOM and session.num_remembered == 0:
        return
    width, rotation = num_available // num_drawn, integer_in(draws, 0, num_available)
    for m in range(num_drawn):
        if p.candidate_source == _RANDOM and not was_consumed(session, positions[m], p):
            continue
        source = p.candidate_source
        if source == _MIXED:
            source = m % _MIXED  # random, popular, similar in turn
        # The stratum is a stretch of the ring, and the item that was drawn is at `drawn` in it.
        start = rotation + m * width
        drawn = positions[m] - first_item - start
        if drawn < 0:
            drawn += num_available
        num_tries = width if source == _RANDOM else min(width, _RETRIEVED)
        stride = max(width // num_tries, 1)
        best, best_score = NO_ITEM, -math.inf
        for attempt in range(num_tries):
            offset = start + (drawn + attempt * stride) % width
            item = first_item + (offset - num_available if offset >= num_available else offset)
            if not was_consumed(session, item, p):
                if source == _RANDOM:
                    best = item
                    break
                score = retrieval_score(session, items[item], source)
                if score > best_score:
                    best, best_score = item, score
        positions[m] = best


@compiled
def retrieval_score(session, item, source):
    """Score by which the platform retrieves candidates: the mean answer of all users, or this user's deviation."""
    refresh = refresh_of(session, item)
    if source == _POPULAR:
        return mean_answer(item, refresh)
    return predicted_deviation(session, item, refresh)


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
def _draw_repeats(session, num_repeats, draws, p):
    """Replace some candidates by recently consumed items that are still available."""
    num_candidates = len(session.candidates)
    start, position = integer_in(draws, 4, NUM_RECENT_ITEMS), integer_in(draws, 5, num_candidates)
    for offset in range(NUM_RECENT_ITEMS):
        item = session.recent_items[(start + offset) % NUM_RECENT_ITEMS]
        if num_repeats == 0:
            return
        if item < session.first_item or item >= session.end_item:  # NO_ITEM is below every available item
            continue
        if not is_candidate(session, item) and not was_consumed(session, item, p):
            session.candidates[position] = item
            position = (position + 1) % num_candidates
            num_repeats -= 1
