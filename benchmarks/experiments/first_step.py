"""Seconds from import to the first step where nothing is compiled yet, beside a bare function of Numba.

Each measurement is a process of its own, with an empty folder for compiled code. CPU time is measured, as machines are
shared.
"""

import os
import subprocess
import sys
import tempfile

from rich.progress import track

TARGET = 6.0
"""The first step may take this many times as long as the bare function."""

_REPORT = "print(time.process_time() - started)"
PROGRAMS = {
    "Numba function": f"""
import time
started = time.process_time()
import numba
@numba.njit
def add(x):
    return x + 1
add(1)
{_REPORT}
""",
    "first step": f"""
import sys, time
started = time.process_time()
import gymnasium, recsim_env
env = gymnasium.make(sys.argv[1])
env.reset(seed=0)
env.step(env.action_space.sample())
{_REPORT}
""",
    "first step, another size": f"""
import sys, time
import gymnasium, recsim_env
env = gymnasium.make(sys.argv[1])
env.reset(seed=0)
env.step(env.action_space.sample())
started = time.process_time()
env = gymnasium.make(sys.argv[1], num_candidates=37, history_length=9)
env.reset(seed=0)
env.step(env.action_space.sample())
{_REPORT}
""",
}


def cpu_seconds(program: str, env_id: str) -> float:
    """CPU time that one of `PROGRAMS` reports, in a process without files of compiled code."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAMS[program], env_id],
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
            capture_output=True,
            text=True,
            check=True,
        )
    return float(done.stdout.split()[-1])


def measure(env_id: str, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each program in each of `rounds` rounds."""
    measured: dict[str, list[float]] = {program: [] for program in PROGRAMS}
    for _ in track(range(rounds), description="first steps"):
        for program, seconds in measured.items():
            seconds.append(cpu_seconds(program, env_id))
    return measured
