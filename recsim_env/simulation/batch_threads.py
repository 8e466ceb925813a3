"""Threads that share the work on a batch."""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np


class BatchThreads:
    """Runs a function on contiguous slices that cover a batch, in parallel where it releases the GIL.

    Args:
        batch_size: number of rows.
        num_threads: threads; with one thread the function gets the whole batch, in the thread of the caller.
        slices_per_thread: several slices for each thread balance unequal work.
    """

    def __init__(self, batch_size: int, num_threads: int, slices_per_thread: int = 1) -> None:
        num_slices = min(num_threads * slices_per_thread, batch_size)
        bounds = np.linspace(0, batch_size, num_slices + 1).astype(int).tolist()
        self._slices = [slice(a, b) for a, b in itertools.pairwise(bounds)]
        self._num_threads = num_threads if num_slices > 1 else 1
        self._start_threads()

    def _start_threads(self) -> None:
        self.is_parallel = self._num_threads > 1
        self._pool = ThreadPoolExecutor(self._num_threads) if self.is_parallel else None
        self._process = os.getpid()

    def run(self, function: Callable[[slice], object]) -> None:
        """Call `function` with each slice, and wait for all of them."""
        if self._pool is not None and self._process != os.getpid():  # a forked process has none of the threads
            self._start_threads()
        if self._pool is None:
            function(slice(None))
        else:
            list(self._pool.map(function, self._slices))

    def close(self) -> None:
        """End the threads; later calls of `run` use the thread of the caller."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool, self.is_parallel = None, False

    def __enter__(self) -> "BatchThreads":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
