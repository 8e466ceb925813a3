"""One platform that all sessions share: a clock, and what the sessions' own feedback adds to the item statistics.

Shape legend: N sessions, I items, H rows of a history.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def _count(sessions, num_shown_before, counts):
    """Add what was shown in the last step to impressions, clicks, ratings and stars, one session after the other."""
    for n in range(len(sessions)):
        session = sessions[n]
        length = len(session.history_items)
        for shown in range(max(num_shown_before[n], session.num_shown - length), session.num_shown):
            row = shown % length
            item, feedback = session.history_items[row], session.history_feedback[row]
            counts[item, 0] += 1.0
            counts[item, 1] += feedback[1]
            counts[item, 2] += 1.0 if feedback[3] > 0.0 else 0.0
            counts[item, 3] += feedback[3]


class LivePlatform:
    """The time and the shared counts of a live platform; of an era, that is, which ends when no items arrive any more.

    Args:
        num_items: I.
        first_step: platform time at which an era begins.
        last_step: platform time at which it ends, and all sessions with it.
    """

    def __init__(self, num_items: int, first_step: int, last_step: int) -> None:
        self.counts = np.zeros((num_items, 4))
        self.clock = np.full(1, first_step, np.int64)
        self._first_step, self._last_step = first_step, last_step

    @property
    def is_over(self) -> bool:
        """Whether the era has come to its end."""
        return bool(self.clock[0] >= self._last_step)

    def restart(self) -> None:
        """Back to the first step, with nothing counted."""
        self.clock[0] = self._first_step
        self.counts[:] = 0.0

    def before_step(self, sessions: np.ndarray) -> None:
        """Note how much all sessions have been shown so far."""
        self._num_shown = np.array(sessions["num_shown"])

    def after_step(self, sessions: np.ndarray) -> None:
        """Count what all sessions were shown and answered since `before_step`; the clock moves on."""
        _count(sessions, self._num_shown, self.counts)
        self.clock[0] += 1
