"""Worker processes: results, failures, and bounded threads."""

import dataclasses
import os
import threading
import time
from dataclasses import dataclass

import pytest

from benchmarks.running.suite_runs import suite_runs
from benchmarks.running.workers import Failure, ends_process, run_in_processes
from benchmarks.suites import SUITES


def square(number: int) -> int:
    if number == 3:
        raise ValueError("three\nis not squared")
    if number == 4:
        os._exit(5)
    return number * number


def environment_of(name: str) -> tuple[int, str | None]:
    time.sleep(0.05)
    return os.getpid(), os.environ.get(name)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_task_has_a_result_or_a_failure_in_one_line(num_workers):
    results = dict(run_in_processes([1, 2, 3, 4, 5], square, num_workers))
    assert {task: results[task] for task in (1, 2, 5)} == {1: 1, 2: 4, 5: 25}
    assert results[3].reason == "ValueError: three is not squared"
    assert "in square" in results[3].traceback
    assert results[4] == Failure(reason="the process ended without a result (exit code 5)")


def test_workers_are_used_again_and_have_one_thread():
    found = [result for _, result in run_in_processes(["OMP_NUM_THREADS"] * 4, environment_of, 1)]
    assert len({process for process, _ in found}) == 1
    assert {threads for _, threads in found} == {"1"}
    assert os.getpid() not in {process for process, _ in found}


@dataclass(frozen=True)
class Untidy:
    """Leaves a thread that kills its process."""

    number: int
    ends_process: bool = True


def process_of(task: int | Untidy) -> int:
    if isinstance(task, Untidy):
        threading.Timer(0.2, os._exit, [7]).start()
    else:
        time.sleep(0.5)
    return os.getpid()


def test_a_task_that_ends_its_process_does_not_affect_later_ones():
    tasks = [1, Untidy(number=2), Untidy(number=3), 4, 5]
    processes = [result for _, result in run_in_processes(tasks, process_of, 1)]
    assert processes[0] == processes[1]
    assert processes[3] == processes[4]
    assert len(set(processes)) == 3
    assert all(isinstance(process, int) for process in processes)


def test_runs_of_the_users_agents_end_their_process():
    suite = dataclasses.replace(SUITES["smoke"], agents=("random", "own_agents:Slow"), num_seeds=1)
    assert [ends_process(run) for run in suite_runs(suite)] == [False, True]


def test_nothing_to_do_starts_nothing():
    assert list(run_in_processes([], square, 4)) == []
