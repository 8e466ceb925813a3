"""A small suite and synthetic rows of its runs."""

from benchmarks.rows import provenance
from benchmarks.running.run import Run
from benchmarks.suites import Suite

SUITE = Suite(
    name="small",
    scenarios=("Video",),
    agents=("random", "linucb"),
    num_seeds=2,
    num_steps=10,
    num_evaluations=1,
    num_sessions=4,
)


def row(run: Run, is_final: bool = True, /, **others) -> dict:
    values = {**run.identity(), "env_steps": 0, "wall_s": 0.0, "status": "ok", "is_final": is_final}
    values |= {"return_mean": 1.5, "return_sem": 0.5, "returns": [1.0, 2.0], "settings": {}}
    return {**values, **provenance([]), **others}
