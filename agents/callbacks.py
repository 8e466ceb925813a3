"""When a learner reports."""

from collections.abc import Callable


class Milestones:
    """Calls `report(steps taken)` at the start, each time another `every` steps are over, and at the end; not again
    within half an interval before the end.

    Args:
        report: what to call, or None for nothing.
        every: user-steps between reports; 0 for the start and the end only.
        num_steps: user-steps of the whole training.
    """

    def __init__(self, report: Callable[[int], None] | None, every: int, num_steps: int) -> None:
        self._report, self._every, self._next = report, every, every
        self._last = num_steps - every / 2

    def begin(self) -> None:
        """Before the first step."""
        if self._report:
            self._report(0)

    def reach(self, num_taken: int) -> None:
        """After each batch of steps, with the steps taken since the start."""
        if self._report and self._every and self._next <= num_taken < self._last:
            self._next += self._every
            self._report(num_taken)

    def end(self, num_taken: int) -> None:
        """After the last step."""
        if self._report:
            self._report(num_taken)
