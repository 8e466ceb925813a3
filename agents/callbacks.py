"""Callbacks in the training of an agent, such as evaluations in another env."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

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


MaybeCallback = Callback | CallbackFunction | None
"""What `learn` takes as `callback`."""


@contextmanager
def training_progress(
    agent: "Agent", total_timesteps: int, callback: MaybeCallback, has_bar: bool
) -> Iterator[Callable[[int], bool]]:
    """Within the block, counts the steps of one training in `agent.num_timesteps` and calls the callback.

    Yields `update(num_taken)`, to be called once the agent is able to act, with 0, and after each batch of steps, with
    the steps taken in this training; it returns False to stop. `has_bar` shows a progress bar.
    """
    if not isinstance(callback, Callback):
        if callback is not None and not callable(callback):
            raise TypeError(f"callback={callback!r}: must be a Callback, a function of the agent, or None")
        callback = Callback() if callback is None else _FunctionCallback(callback)
    before, has_started, bar = agent.num_timesteps, False, None

    def start() -> None:
        nonlocal has_started
        if not has_started:
            callback.on_training_start(agent, total_timesteps)
        has_started = True

    def update(num_taken: int) -> bool:
        start()
        agent.num_timesteps = before + num_taken
        if bar:
            bar.update(task, completed=min(num_taken, total_timesteps))
        return num_taken == 0 or callback.on_step(agent) is not False

    with ExitStack() as stack:
        if has_bar:
            from agents.terminal import console, progress_bar  # rich is needed for this alone

            bar = stack.enter_context(progress_bar(console()))
            task = bar.add_task(type(agent).__name__, total=total_timesteps)
        yield update
    start()
    callback.on_training_end(agent)
