"""A run of the large model that a GPU script executes: one preset, number of steps and seed in Video."""

from typing import Any

from agents.registry import Entry
from benchmarks.running.run import Run
from benchmarks.suites import Suite

SCENARIO = "Video"


def large_model_run(
    suite_name: str,
    preset: str,
    *,
    num_steps: int,
    device: str,
    seed: int,
    num_envs: int,
    num_evaluations: int = 6,
    num_sessions: int = 500,
    **settings: Any,
) -> Run:
    """One training and its evaluations on the benchmark's held-out users and catalogue of that seed."""
    agent = f"large-model-{preset}"
    suite = Suite(
        name=suite_name,
        scenarios=(SCENARIO,),
        agents=(agent,),
        num_seeds=seed + 1,
        num_steps=num_steps,
        num_evaluations=num_evaluations,
        num_sessions=num_sessions,
        device=device,
    )
    entry = Entry(
        path="agents.large_model.agent:LargeModel",
        family="reinforcement",
        settings={
            "preset": preset,
            "batch_sessions": max(num_envs // 8, 1),
            "num_catalogs": 16,
            **settings,
        },
        num_envs=num_envs,
    )
    return Run(suite=suite, agent=agent, entry=entry, task=SCENARIO, seed=seed)
