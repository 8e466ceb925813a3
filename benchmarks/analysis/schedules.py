"""How long runs take on several cores."""

import heapq
from collections.abc import Sequence


def makespan(seconds: Sequence[float], num_slots: int) -> float:
    """Time at which the last run ends, if each slot takes the next run of the list as soon as it is free.

    With the longest runs first (LPT), this is at most 4/3 of the shortest possible time (Graham 1969).
    """
    free = [0.0] * min(num_slots, max(len(seconds), 1))
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def lower_bound(seconds: Sequence[float], num_slots: int) -> float:
    """Lower bound of the makespan of any schedule: the longest run, or the total work divided by the slots."""
    return max(max(seconds), sum(seconds) / num_slots)
