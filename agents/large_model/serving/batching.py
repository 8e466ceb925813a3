"""Shared calls of the model: requests that are in flight at the same time are read and scored as one batch.

A request that finds the model idle is not kept waiting for others.

Shape legend: n sessions of a call, M candidates.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from agents.explanation import Explanation, candidate_mask, explanation, relative_scores, without_each_row
from agents.large_model.serving.served_model import ServedModel

_MAX_SESSIONS = 16  # of a call; more of them take no less time each
_MAX_CELLS = 1 << 14  # candidates of all sessions of a call, padding included

Observe = Callable[[], dict[str, np.ndarray]]
"""Makes the observation of one session; called in the thread of the model."""


class Result(NamedTuple):
    """What the model says of one session."""

    logits: np.ndarray
    """[M] float32."""
    scores: np.ndarray
    """[M] float32."""
    expected_rewards: np.ndarray
    """[M] float32."""
    cached: Any
    """The `CachedSession` that the next step continues."""


class _Request(NamedTuple):
    served: ServedModel
    observe: Observe
    num_candidates: int
    cached: Any
    num_new: int
    future: asyncio.Future


class SharedModel:
    """A model that requests share, one version after the other; used in one event loop.

    Args:
        served: the version to begin with.
        stack: `exported_model.stack_observations`.
        measure: called with the number of sessions of each call.
    """

    def __init__(
        self,
        served: ServedModel,
        stack: Callable[[Sequence[dict[str, np.ndarray]]], dict[str, np.ndarray]],
        measure: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.current = served
        """The version for requests that begin now; those that have begun finish with the version they began with."""
        self._stack, self._measure = stack, measure
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting: list[_Request] = []
        self._running: asyncio.Task | None = None

    async def start(self, served: ServedModel, observe: Observe, num_candidates: int) -> Result:
        """Read a session from its whole history, and score its candidates [M]."""
        return await self._result(_Request(served, observe, num_candidates, None, 0, _future()))

    async def step(
        self, served: ServedModel, cached: Any, observe: Observe, num_candidates: int, num_new: int
    ) -> Result:
        """Read the `num_new` newest rows of a session whose other rows this version has read, and score its candidates
        [M]."""
        return await self._result(_Request(served, observe, num_candidates, cached, num_new, _future()))

    async def explain(self, served: ServedModel, observe: Observe, candidates: Sequence[int]) -> list[Explanation]:
        """Why some of the candidates have their scores."""

        def explain() -> list[Explanation]:
            observation = observe()
            batch = without_each_row(observation)
            scores = relative_scores(served.model.start(served.tables, batch)[0].scores, candidate_mask(batch))
            return [explanation(observation, scores, candidate) for candidate in candidates]

        return await asyncio.get_running_loop().run_in_executor(self._thread, explain)

    def close(self) -> None:
        """Finish the call that is running."""
        self._thread.shutdown(cancel_futures=True)

    async def _result(self, request: _Request) -> Result:
        self._waiting.append(request)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await request.future

    async def _run(self) -> None:
        """Call the model as long as requests are waiting."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                for requests in _batches(waiting):
                    outcomes: list[Any]
                    try:
                        outcomes = await loop.run_in_executor(self._thread, self._call, requests)
                    except Exception as error:
                        outcomes = [error] * len(requests)
                    for request, outcome in zip(requests, outcomes, strict=True):
                        if request.future.done():  # its client has gone
                            continue
                        if isinstance(outcome, Exception):
                            request.future.set_exception(outcome)
                        else:
                            request.future.set_result(outcome)
        finally:
            self._running = None

    def _call(self, requests: Sequence[_Request]) -> list[Result]:
        self._measure(len(requests))
        observations = self._stack([request.observe() for request in requests])
        model, tables = requests[0].served.model, requests[0].served.tables
        if requests[0].cached is None:
            scores, sessions = model.start(tables, observations)
        else:
            cached, num_new = [each.cached for each in requests], np.array([each.num_new for each in requests])
            scores, sessions = model.step(tables, cached, observations, num_new)
        return [
            Result(
                logits=scores.logits[n, : request.num_candidates],
                scores=scores.scores[n, : request.num_candidates],
                expected_rewards=scores.expected_rewards[n, : request.num_candidates],
                cached=sessions[n],
            )
            for n, request in enumerate(requests)
        ]


def _future() -> asyncio.Future:
    return asyncio.get_running_loop().create_future()


def _batches(requests: Sequence[_Request]) -> list[list[_Request]]:
    """Requests of one version that start or continue a session, with numbers of candidates that differ by less than a
    factor of 2."""
    alike = defaultdict(list)
    for request in requests:
        alike[request.served, request.cached is None, max(request.num_candidates, 64).bit_length()].append(request)
    batches = []
    for (*_, bits), group in alike.items():
        size = max(min(_MAX_SESSIONS, _MAX_CELLS >> bits), 1)
        batches += [group[first : first + size] for first in range(0, len(group), size)]
    return batches
