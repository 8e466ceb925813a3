"""Callbacks in the training of an agent, such as evaluations in another env."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.agent import Agent

CallbackFunction = Callable[["Agent"], bool | None]
"""Called after each batch of steps; False ends the training. `agent.num_timesteps` are the steps so far."""


class Callback:
    """Base class of callbacks; override the methods that are needed."""

    def on_training_start(self, agent: "Agent", total_timesteps: int) -> None:
        """Before the first step, as soon as the agent is able to act."""

    def on_step(self, agent: "Agent") -> bool | None:
        """After each batch of steps; returning False ends the training."""

    def on_training_end(self, agent: "Agent") -> None:
        """After the last step."""


class EveryNSteps(Callback):
    """Calls a function at the start of training, after each `num_steps`, and at the end.

    It is not called within half an interval before the end.

    Args:
        num_steps: user-steps between calls; 0 for the start and the end only.
        function: called with the agent.
    """

    def __init__(self, num_steps: int, function: Callable[["Agent"], None]) -> None:
        self.num_steps, self.function = num_steps, function
        self._next, self._last, self._previous = 0, 0.0, -1

    def on_training_start(self, agent: "Agent", total_timesteps: int) -> None:
        self._next = agent.num_timesteps + self.num_steps
        self._last = agent.num_timesteps + total_timesteps - self.num_steps / 2
        self._call(agent)

    def on_step(self, agent: "Agent") -> None:
        if self.num_steps and self._next <= agent.num_timesteps < self._last:
            self._next += self.num_steps
            self._call(agent)

    def on_training_end(self, agent: "Agent") -> None:
        if agent.num_timesteps != self._previous:
            self._call(agent)

    def _call(self, agent: "Agent") -> None:
        self._previous = agent.num_timesteps
        self.function(agent)


class _FunctionCallback(Callback):
    def __init__(self, function: CallbackFunction) -> None:
        self.on_step = function  # type: ignore[method-assign, assignment]


class TrainingProgress:
    """Counts the steps of one training, shows a progress bar if asked to, and calls the callback.

    Args:
        agent: its `num_timesteps` is counted up.
        total_timesteps: steps of this training.
        callback: a `Callback`, a function, or None.
        progress_bar: whether to show one.
    """

    def __init__(
        self, agent: "Agent", total_timesteps: int, callback: Callback | CallbackFunction | None, progress_bar: bool
    ) -> None:
        self._agent, self._total, self._before = agent, total_timesteps, agent.num_timesteps
        self._callback = (
            callback if isinstance(callback, Callback) else _FunctionCallback(callback) if callback else None
        )
        self._has_bar = progress_bar
        self._bar: Any = None
        self._has_started = False

    def __enter__(self) -> "TrainingProgress":
        if self._has_bar:
            from agents.terminal import console, progress_bar  # rich is needed for this alone

            self._bar = progress_bar(console())
            self._bar.start()
            self._task = self._bar.add_task(type(self._agent).__name__, total=self._total)
        return self

    def update(self, num_taken: int) -> bool:
        """Once the agent is able to act, with 0, and after each batch of steps, with the steps taken in this training;
        False asks to stop."""
        self._start()
        self._agent.num_timesteps = self._before + num_taken
        if self._bar:
            self._bar.update(self._task, completed=min(num_taken, self._total))
        return not self._callback or num_taken == 0 or self._callback.on_step(self._agent) is not False

    def _start(self) -> None:
        if self._callback and not self._has_started:
            self._callback.on_training_start(self._agent, self._total)
        self._has_started = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        if error is None and self._callback:
            self._start()
            self._callback.on_training_end(self._agent)
