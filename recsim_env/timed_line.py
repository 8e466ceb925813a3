"""A line in the terminal about work that takes seconds."""

import contextlib
import sys
import time
from collections.abc import Iterator


@contextlib.contextmanager
def timed_line(text: str) -> Iterator[None]:
    """Write `text` to stderr before the block, and its duration after it; nothing if stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    started = time.perf_counter()
    print(f"recsim_env: {text} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(f" {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
