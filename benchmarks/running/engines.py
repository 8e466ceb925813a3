"""Engines that execute runs: processes on this machine, or the nodes of a Ray cluster."""

import argparse
import os
import sys
from collections.abc import Iterable
from functools import partial
from importlib.util import find_spec
from operator import attrgetter
from types import ModuleType

from agents.terminal import positive
from benchmarks.running.workers import Engine, run_in_processes


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--engine` and the options for its address and size."""
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="execute runs in processes on this machine or on a Ray cluster",
    )
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="address of the cluster: HOST:PORT, ray://HOST:PORT, or auto for RAY_ADDRESS or the cluster that this "
        "machine belongs to (default: auto)",
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="parallel runs (default: number of cores, or CPUs of the cluster)"
    )


def engine_from(parsed: argparse.Namespace, own_agents: Iterable[str] = ()) -> Engine:
    """The engine selected by the arguments of `add_engine_arguments`.

    `own_agents` are agents as MODULE:CLASS whose modules the engine must be able to import.

    Raises:
        ResultsError: Ray is not installed, no cluster responds, or a node has different versions.
    """
    from benchmarks.rows import ResultsError  # takes a second to import, which --help can do without

    if parsed.engine == "local":
        if parsed.ray_address:
            raise ResultsError(f"--ray-address {parsed.ray_address}: requires --engine ray")
        return partial(run_in_processes, num_workers=parsed.workers or os.cpu_count() or 1)
    if find_spec("ray") is None:
        raise ResultsError("--engine ray: needs the package ray (pip install 'recsim-env[ray]')")
    from benchmarks.running.ray_cluster import RayCluster

    return RayCluster(
        parsed.ray_address or "auto",
        num_workers=parsed.workers,
        needs_gpu=attrgetter("uses_gpu"),
        modules=_modules_of(own_agents),
    )


def _modules_of(own_agents: Iterable[str]) -> list[ModuleType]:
    """The modules and packages of the user's agents, unless they are installed packages."""
    names = {agent.partition(":")[0].partition(".")[0] for agent in own_agents if ":" in agent}
    modules = [sys.modules[name] for name in sorted(names - {"sb3", "agents"}) if name in sys.modules]
    return [module for module in modules if "site-packages" not in str(module.__file__ or module.__path__)]
