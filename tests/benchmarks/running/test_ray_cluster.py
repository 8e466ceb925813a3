"""Runs on a Ray cluster of two nodes on this machine: dying nodes and processes, and invalid requests."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT

from benchmarks.__main__ import main
from benchmarks.rows import ResultsError, read_rows
from benchmarks.running.software import software
from benchmarks.running.workers import Failure

pytest.importorskip("ray")

import ray
from ray.cluster_utils import Cluster

from benchmarks.running.ray_cluster import RayCluster

DIFFER = {"wall_s", "evaluation_s", "run_s", "steps_per_s", "peak_memory_mib", "command", "date"}
"""Fields that differ between two runs with the same seed."""

HERE = sys.modules[__name__]
"""A module that nodes do not have."""

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}


def started(start: Callable[[], Any]) -> Any:
    """What `start` returns; up to three attempts, as Ray waits for a node for 30 s only, whatever else is running."""
    for _ in range(2):
        try:
            return start()
        except Exception as error:  # Ray raises nothing more specific
            if "timed out during startup" not in str(error):
                raise
    return start()


@pytest.fixture(scope="module")
def holds(tmp_path_factory) -> Path:
    """The folder in which agents say that they are executed, and are held."""
    return tmp_path_factory.mktemp("holds")


@pytest.fixture(scope="module")
def cluster(holds: Path) -> Iterator[Cluster]:
    """A head with one CPU; tests add a node."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")]))
        patch.setenv("HOLDS", str(holds))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        unused = {"include_dashboard": False, "no_monitor": True}
        cluster = started(lambda: Cluster(initialize_head=True, head_node_args={**NODE, **unused}))
        yield cluster
        cluster.shutdown()


def raylet_of(node) -> int:
    (raylet,) = node.all_processes["raylet"]
    return raylet.process.pid


def start_run(out: Path, *arguments: str) -> subprocess.Popen:
    agents = ("--only", "random", "--agent", "own_agents:Holds")
    command = ["benchmarks", "run", "--suite", "smoke", "--out", str(out), "--no-report", "--no-reuse", *agents]
    return subprocess.Popen(
        [sys.executable, "-m", *command, *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition: Callable[[], bool], running: subprocess.Popen, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_alive(process: int) -> bool:
    """Whether there is such a process that has not ended."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def timeless(path: Path) -> list[dict]:
    rows = read_rows(path / "results.jsonl")
    return [{key: value for key, value in row.items() if key not in DIFFER} for row in rows]


def test_rows_are_those_of_a_local_run_though_a_node_is_killed(cluster, holds, tmp_path: Path):
    node = started(lambda: cluster.add_node(**NODE))
    held, runs = (holds / f"{raylet_of(node)}.{ending}" for ending in ("held", "runs"))
    held.touch()
    # The head would execute all runs while the node is still starting a process.
    head_is_held = holds / f"{raylet_of(cluster.head_node)}.held"
    head_is_held.touch()
    on_ray = start_run(tmp_path / "ray", "--engine", "ray", "--ray-address", cluster.address)
    wait_until(runs.exists, on_ray)
    cluster.remove_node(node, allow_graceful=False)
    head_is_held.unlink()
    output = on_ray.communicate(timeout=300)[0]
    assert on_ray.returncode == 0, output
    assert "the process or its node ended without a result" in output
    assert "attempt 2 of 3" in output
    local = start_run(tmp_path / "local", "--workers", "1")
    assert local.wait() == 0, local.communicate()[0]
    assert len(timeless(tmp_path / "ray")) == 4
    assert timeless(tmp_path / "ray") == timeless(tmp_path / "local")


def test_tasks_end_with_a_driver_that_is_killed(cluster, holds, tmp_path: Path):
    held, runs = (holds / f"{raylet_of(cluster.head_node)}.{ending}" for ending in ("held", "runs"))
    runs.unlink(missing_ok=True)
    held.touch()
    driver = start_run(tmp_path, "--engine", "ray", "--ray-address", cluster.address, "--seeds", "1")
    wait_until(lambda: runs.exists() and bool(runs.read_text()), driver)
    task = int(runs.read_text())
    assert is_alive(task)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 180.0
    while is_alive(task):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    held.unlink()


def square(number: int) -> int:
    if number == 3:
        raise ValueError("three\nis not squared")
    if number == 4:
        os._exit(5)
    return number * number


def test_every_task_has_a_result_or_a_failure_in_one_line(cluster, monkeypatch):
    monkeypatch.setattr("benchmarks.running.ray_cluster.NUM_ATTEMPTS", 2)
    results = dict(RayCluster(cluster.address, modules=[HERE])([1, 2, 3, 4, 5], square))
    assert {task: results[task] for task in (1, 2, 5)} == {1: 1, 2: 4, 5: 25}
    assert results[3].reason == "ValueError: three is not squared"
    assert "in square" in results[3].traceback
    reason = "the process or its node ended without a result (WorkerCrashedError) in each of 2 attempts"
    assert results[4] == Failure(reason=reason)
    assert not ray.is_initialized()


@dataclass(frozen=True)
class Untidy:
    number: int
    ends_process: bool


def process_of(task: Untidy) -> int:
    return os.getpid()


def test_a_task_that_ends_its_process_is_the_last_one_there(cluster):
    run = RayCluster(cluster.address, num_workers=1, modules=[HERE])
    tasks = [Untidy(number, ends_process=number < 2) for number in range(4)]
    processes = [result for _, result in run(tasks, process_of)]
    assert processes[2] == processes[3]
    assert len(set(processes)) == 3


def place_of(name: str) -> tuple[str, str | None]:
    return os.getcwd(), os.environ.get(name)


def test_tasks_have_the_folder_and_the_threads_of_the_driver(cluster, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (found,) = RayCluster(cluster.address, modules=[HERE])(["OMP_NUM_THREADS"], place_of)
    assert found == ("OMP_NUM_THREADS", (str(tmp_path), "1"))


def test_a_node_with_another_version_is_refused(cluster, monkeypatch):
    expected = {**software(), "torch": "0.1"}
    monkeypatch.setattr("benchmarks.running.ray_cluster.software", lambda: expected)
    with pytest.raises(ResultsError, match=r"^--engine ray: node .* has torch \S+ instead of 0\.1; its rows could"):
        RayCluster(cluster.address)
    assert not ray.is_initialized()


def test_runs_on_a_gpu_are_refused_without_one(cluster):
    with pytest.raises(ResultsError, match=r"^--engine ray: 2 runs need a GPU, and no node of the cluster has one$"):
        list(RayCluster(cluster.address, needs_gpu=lambda task: task < 3)([1, 2, 3], square))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "ray", "--ray-address", "127.0.0.1:9"], "127.0.0.1:9: no Ray cluster responds (["),
        (["--engine", "ray", "--ray-address", "ray://127.0.0.1:9"], "ray://127.0.0.1:9: no Ray cluster responds (["),
        (["--engine", "ray", "--ray-address", "cluster"], "cluster: must be auto, HOST:PORT or ray://HOST:PORT"),
        (["--ray-address", "auto"], "--ray-address auto: requires --engine ray"),
    ],
)
def test_an_unreachable_cluster_ends_in_one_line(arguments, message, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["run", "--suite", "smoke", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.running.engines.find_spec", lambda name: None)
    assert main(["run", "--suite", "smoke", "--out", str(tmp_path / "out"), "--engine", "ray"]) == 2
    assert "--engine ray: needs the package ray (pip install 'recsim-env[ray]')" in capsys.readouterr().err
