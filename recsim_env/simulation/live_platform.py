"""A live platform: one clock for all sessions, and item statistics that include their feedback.

Shape legend: N sessions, I items, H rows of a history.
"""

import numpy as np

from recsim_env.simulation.compilation import kernel
from recsim_env.simulation.record_types import as_bytes
from recsim_env.simulation.records import SESSION


@kernel
def _count(sessions, layout, num_shown_before, counts):
    """Add the impressions, clicks, ratings and rating sums of the last step, session by session."""
    sessions = SESSION(sessions, layout)
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
    """Clock and shared feedback counts of a live platform. It restarts when no more items arrive.

    Args:
        num_items: I.
        first_step: platform time after a restart.
        last_step: platform time at which all sessions are truncated.
    """

    def __init__(self, num_items: int, first_step: int, last_step: int) -> None:
        self.counts = np.zeros((num_items, 4))
        self.clock = np.full(1, first_step, np.int64)
        self._first_step, self._last_step = first_step, last_step

    @property
    def is_over(self) -> bool:
        """Whether the last step is reached."""
        return bool(self.clock[0] >= self._last_step)

    def restart(self) -> None:
        """Go back to the first step, with all counts 0."""
        self.clock[0] = self._first_step
        self.counts[:] = 0.0

    def before_step(self, sessions: np.ndarray) -> None:
        """Remember the number of items shown in each session so far."""
        self._num_shown = np.array(sessions["num_shown"])

    def after_step(self, sessions: np.ndarray, layout: np.ndarray) -> None:
        """Count the feedback of all sessions since `before_step`, and advance the clock."""
        _count(as_bytes(sessions), layout, self._num_shown, self.counts)
        self.clock[0] += 1
