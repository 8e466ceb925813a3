"""Where the time goes: seconds by what they were spent on."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up seconds; on a GPU it waits for what was begun, so that seconds fall where they belong."""

    def __init__(self, device: torch.device | None = None) -> None:
        self._is_cuda = device is not None and device.type == "cuda"
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Seconds of what is done inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            if self._is_cuda:
                torch.cuda.synchronize()
            self.seconds[name] += time.perf_counter() - started

    def taken(self) -> dict[str, float]:
        """The seconds so far, and begin anew."""
        seconds, self.seconds = dict(self.seconds), defaultdict(float)
        return seconds
