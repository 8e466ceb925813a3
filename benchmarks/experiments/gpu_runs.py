"""Cells of the large model that a GPU script runs: a preset, so many steps, one seed, on Video."""

from typing import Any

from agents.registry import Entry
from benchmarks.running.run import Cell
from benchmarks.suites import Suite

SCENARIO = "Video"


def large_model_cell(
    suite_name: str,
    preset: str,
    num_steps: int,
    *,
    device: str,
    seed: int = 0,
    num_evaluations: int = 6,
    num_sessions: int = 500,
    num_envs: int | None = None,
    **settings: Any,
) -> Cell:
    """One training and its evaluations on the benchmark's held-out users and catalogue of that seed."""
    suite = Suite(
        scenarios=(SCENARIO,),
        agents=(f"large-model-{preset}",),
        num_seeds=seed + 1,
        num_steps=num_steps,
        num_evaluations=num_evaluations,
        num_sessions=num_sessions,
        device=device,
    )
    entry = Entry(
        path="agents.large_model.agent:LargeModel",
        family="reinforcement",
        settings={"preset": preset, **settings},
        num_envs=num_envs,
    )
    return Cell(
        suite_name=suite_name,
        suite=suite,
        agent=suite.agents[0],
        entry=entry,
        task=SCENARIO,
        scenario=SCENARIO,
        seed=seed,
    )
