"""Tasks on the nodes of a Ray cluster; a task whose process or node dies is repeated."""

import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from agents.terminal import one_line, warn
from benchmarks.rows import ResultsError
from benchmarks.running.software import PACKAGES, first_difference, folder_of, software
from benchmarks.running.workers import ONE_THREAD, Failure, ends_process, outcome

NUM_ATTEMPTS = 3
"""Maximum number of attempts at a task whose process or node dies; after the last one, its result is a `Failure`."""

_CONNECT_SECONDS, _CHECK_SECONDS, _POLL_SECONDS = 5.0, 300.0, 10.0


@dataclass(frozen=True, kw_only=True)
class _Mismatch:
    """A node with different software, whose rows could differ."""

    node: str
    difference: str

    def __str__(self) -> str:
        return f"node {self.node} has {self.difference}; its rows could differ"


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    task: Any
    number: int = 1


class RayCluster:
    """An `Engine` on a Ray cluster. The process stays connected to the cluster until its tasks are finished.

    Nodes must have the same package versions as this process. The project's source is read from the same path as on
    this machine if it is identical on all nodes, and otherwise copied to them. Other files must have the same paths on
    all nodes.

    Args:
        address: address of the cluster: "auto" for RAY_ADDRESS or the cluster that this machine belongs to,
            "HOST:PORT", or "ray://HOST:PORT" for Ray Client.
        num_workers: maximum number of parallel tasks; None for as many as the CPUs of the cluster allow.
        needs_gpu: whether a task reserves a GPU.
        modules: the user's modules, which are copied to the nodes.

    Raises:
        ResultsError: no cluster responds, or a node has different versions.
    """

    def __init__(
        self,
        address: str = "auto",
        *,
        num_workers: int | None = None,
        needs_gpu: Callable[[Any], bool] = lambda task: False,
        modules: Sequence[ModuleType] = (),
    ) -> None:
        self.num_workers, self.needs_gpu = num_workers, needs_gpu
        self._is_waiting = False
        _check_answers(address)
        own = [str(folder_of(name)) for name in PACKAGES]
        for folders in ([], own):
            _connect(address, [*folders, *modules])
            try:
                self._check_fits(())
                problem = _problem_of_nodes()
            except BaseException:
                ray.shutdown()
                raise
            if problem is None:
                return
            ray.shutdown()
        raise ResultsError(f"--engine ray: {problem}")

    def __call__(self, tasks: Sequence[Any], work: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
        """Start `work(task)` for the tasks in the given order; yields (task, result) as they finish.

        The result is a `Failure` if the task raises an exception, or if its process or node dies `NUM_ATTEMPTS` times.
        Tasks end with this process, even if it is killed.
        """
        try:
            self._check_fits(tasks)
            yield from self._results(deque(_Attempt(task=task) for task in tasks), work)
        finally:
            ray.shutdown()  # ends running tasks

    def _results(self, todo: deque[_Attempt], work: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
        # With Ray's own retries, a task that exhausts the memory would be repeated for ever.
        shared, single = ray.remote(max_retries=0)(_attempt), ray.remote(max_retries=0, max_calls=1)(_attempt)
        running: dict[Any, _Attempt] = {}
        while todo or running:
            while todo and len(running) < self._num_at_once():
                attempt = todo.popleft()
                resources = {"num_cpus": 1, "num_gpus": int(self.needs_gpu(attempt.task))}
                remote = single if ends_process(attempt.task) else shared
                running[remote.options(**resources).remote(work, attempt.task, software(), os.getcwd())] = attempt
            ready, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
            if not ready:
                self._warn_while_none_fits([attempt.task for attempt in running.values()])
            for reference in ready:
                attempt = running.pop(reference)
                try:
                    result = ray.get(reference)
                except RayTaskError as error:  # raised by Ray before the task starts, for example for a missing module
                    result = Failure(reason=one_line(error.cause or error)[:500], traceback=str(error)[-4_000:])
                except RayError as error:
                    reason = f"the process or its node ended without a result ({type(error).__name__})"
                    if attempt.number < NUM_ATTEMPTS:
                        todo.appendleft(_Attempt(task=attempt.task, number=attempt.number + 1))
                        warn(f"{reason}: attempt {attempt.number + 1} of {NUM_ATTEMPTS}")
                        continue
                    result = Failure(reason=f"{reason} in each of {NUM_ATTEMPTS} attempts")
                if isinstance(result, _Mismatch):
                    raise ResultsError(f"--engine ray: {result}")
                yield attempt.task, result

    def _num_at_once(self) -> int:
        """Maximum number of parallel tasks with the current nodes."""
        return self.num_workers or max(int(ray.cluster_resources().get("CPU", 0.0)), 1)

    def _check_fits(self, tasks: Sequence[Any]) -> None:
        """Raise `ResultsError` if some tasks do not fit on any node; Ray would wait for such a node."""
        if not _nodes_with(CPU=1):
            raise ResultsError("--engine ray: no node of the cluster has a CPU")
        num_on_gpu = sum(map(self.needs_gpu, tasks))
        if num_on_gpu and not _nodes_with(CPU=1, GPU=1):
            raise ResultsError(f"--engine ray: {num_on_gpu} runs need a GPU, and no node of the cluster has one")

    def _warn_while_none_fits(self, tasks: Sequence[Any]) -> None:
        try:
            self._check_fits(tasks)
        except ResultsError as error:
            if not self._is_waiting:
                warn(f"{error}; waiting for such a node")
            self._is_waiting = True
        else:
            self._is_waiting = False


def _connect(address: str, copied: list[str | ModuleType]) -> None:
    """Connect to the cluster and copy the modules and package folders in `copied` to the nodes."""
    # Ray puts copied folders first
    variables = {**ONE_THREAD, "PYTHONPATH": f"{folder_of('benchmarks').parent}:${{PYTHONPATH}}"}
    if log := os.environ.get("RECSIM_DATA"):
        variables["RECSIM_DATA"] = os.path.abspath(log)
    environment: dict[str, Any] = {"env_vars": variables, "excludes": ["__pycache__", "/results"]}
    if copied:  # Ray cannot parse an empty list
        environment["py_modules"] = copied
    try:
        ray.init(address=address, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    except (Exception, SystemExit) as error:  # Ray raises many types without a common base class
        raise ResultsError(f"--ray-address {address}: {one_line(error)[-300:]}") from None


def _check_answers(address: str) -> None:
    """Raise `ResultsError` if nothing listens at HOST:PORT; Ray would keep trying for two minutes."""
    address = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ResultsError(f"--ray-address {address}: must be auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ResultsError(f"--ray-address {address}: no Ray cluster responds ({one_line(error)})") from None


def _nodes_with(**resources: float) -> list[dict[str, Any]]:
    """Nodes with at least these resources."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return [node for node in nodes if all(node["Resources"].get(name, 0.0) >= it for name, it in resources.items())]


def _problem_of_nodes() -> str | None:
    """The reason why a node cannot reproduce the rows of this process; None if all nodes can."""
    check = ray.remote(num_cpus=0, max_retries=0)(_mismatch)
    placed = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in _nodes_with()]
    references = [check.options(scheduling_strategy=each).remote(software()) for each in placed]
    ready, late = ray.wait(references, num_returns=len(references), timeout=_CHECK_SECONDS)
    if late:
        return f"{len(late)} of {len(placed)} nodes have not responded within {_CHECK_SECONDS:.0f} s"
    try:
        return next((str(each) for each in map(ray.get, ready) if each), None)
    except RayTaskError as error:
        return f"a node cannot import the benchmark ({one_line(error.cause or error)[-300:]})"
    except RayError as error:
        return f"a node cannot execute runs ({one_line(error)[-300:]})"


def _mismatch(expected: dict[str, str]) -> _Mismatch | None:
    """Executed on a node: the difference between its software and the driver's, if any."""
    difference = first_difference(expected, software())
    return _Mismatch(node=socket.gethostname(), difference=difference) if difference else None


def _attempt(work: Callable[[Any], Any], task: Any, expected: dict[str, str], folder: str) -> Any:
    """Executed on a node: the result of `work(task)`, a `Failure` if it raises, or a `_Mismatch` found beforehand."""
    if mismatch := _mismatch(expected):  # the node may have joined after the start
        return mismatch
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # sent when a node stops; Ray's handler would raise SystemExit
    if Path(folder).is_dir():
        os.chdir(folder)  # relative paths are relative to the driver's folder
    return outcome(work, task)
