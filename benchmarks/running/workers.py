"""Worker processes that execute one task after another; a worker that dies costs one task.

A task with a true attribute `ends_process` is the last one of its process.
"""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

Engine = Callable[[Sequence[Any], Callable[[Any], Any]], Iterator[tuple[Any, Any]]]
"""Applies a function to tasks and yields (task, result) as they finish; the result of a failed task is a `Failure`."""

_CONTEXT = multiprocessing.get_context("spawn")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
"""Environment variables of a process with one thread, so that its results do not depend on the number of cores."""


def ends_process(task: Any) -> bool:
    """Whether the process that executes the task ends after it, since the task may change its state for later ones."""
    return getattr(task, "ends_process", False)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A task without a result."""

    reason: str
    """In one line."""
    traceback: str = ""


class _Worker:
    """A process and its present task."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.connection, far_end = _CONTEXT.Pipe()
        self.process: SpawnProcess = _CONTEXT.Process(target=_serve, args=(far_end, work), daemon=True)
        self.process.start()
        far_end.close()
        self.task: Any = None

    def submit(self, task: Any) -> None:
        self.task = task
        self.connection.send(task)

    def result(self) -> Any:
        """Waits for the result of the task."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return Failure(reason=f"the process ended without a result (exit code {self.process.exitcode})")


def run_in_processes(tasks: Sequence[Any], work: Callable[[Any], Any], num_workers: int) -> Iterator[tuple[Any, Any]]:
    """`work(task)` for each task, in the order given, `num_workers` at a time; yields (task, result) as they finish.

    The result of a task that raises, or whose process dies, is a `Failure`; the others continue. Each process uses
    one thread. The workers end with this process, even if it is killed.
    """
    os.environ.update(ONE_THREAD)  # read by the libraries when a worker imports them
    todo = list(reversed(tasks))
    workers: list[_Worker] = []
    try:
        while todo or workers:
            while todo and len(workers) < num_workers:
                worker = _Worker(work)
                worker.submit(todo.pop())
                workers.append(worker)
            ready = wait([worker.connection for worker in workers])
            for worker in [each for each in workers if each.connection in ready]:
                task, result = worker.task, worker.result()
                if ends_process(task):
                    worker.process.kill()  # its own threads could keep it from ending
                if ends_process(task) or worker.process.exitcode is not None or not todo:
                    worker.connection.close()
                    workers.remove(worker)
                else:
                    worker.submit(todo.pop())
                yield task, result
    finally:
        for worker in workers:
            worker.process.kill()


def outcome(work: Callable[[Any], Any], task: Any) -> Any:
    """The result of `work(task)`, or a `Failure` if it raises anything but KeyboardInterrupt."""
    try:
        return work(task)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's agent can raise anything
        reason = f"{type(error).__name__}: {' '.join(_message(error).split())}"[:500]
        return Failure(reason=reason, traceback=traceback.format_exc()[-4_000:])


def _serve(connection: Connection, work: Callable[[Any], Any]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            connection.send(outcome(work, task))
        except KeyboardInterrupt:
            return


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "has no message"


def _end_with_parent() -> None:
    """End this process when the parent ends, which cannot end its children when it is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
