"""Result rows that look like a benchmark's.

Shape legend: N evaluation sessions, T steps of a session.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

FAMILY_OF = {
    "random": "reference",
    "history-blind": "reference",
    "bayes-filter": "reference",
    "myopic-oracle": "reference",
    "planning-oracle": "reference",
    "popularity": "rule",
    "best-rated": "rule",
    "newest": "rule",
    "linucb": "bandit",
    "eb-linucb": "bandit",
    "thompson": "bandit",
    "neural-linear": "bandit",
    "behaviour-cloning": "supervised",
    "supervised-greedy": "supervised",
    "decision-transformer": "supervised",
    "conservative-q": "supervised",
    "ppo": "reinforcement",
    "ppo-gru": "reinforcement",
    "a2c-gru": "reinforcement",
    "reinforce": "reinforcement",
    "pqn": "reinforcement",
    "slateq": "reinforcement",
    "dqn-double": "reinforcement",
    "sac-nearest": "reinforcement",
    "awac": "reinforcement",
    "transformer-10m": "reinforcement",
    "transformer-30m": "reinforcement",
    "sb3-ppo": "library",
    "sb3-ppo-mlp": "library",
    "sb3-a2c": "library",
    "sb3-dqn": "library",
    "sb3-sac": "library",
    "sb3-td3": "library",
    "contrib-recurrent-ppo": "library",
    "contrib-qrdqn": "library",
}
"""35 agents."""

TEN = (
    "random",
    "bayes-filter",
    "planning-oracle",
    "popularity",
    "eb-linucb",
    "supervised-greedy",
    "ppo-gru",
    "pqn",
    "sb3-ppo",
    "sb3-dqn",
)
"""A small board."""

SCALES = {"Video": (34.0, 150.0), "News": (57.0, 168.0), "Music": (62.0, 140.0), "Social": (44.0, 121.0)}
SCALES |= {"Ecommerce": (19.0, 37.0)}
"""Mean return of random and of the planning oracle in each scenario."""

_LEVELS = {"random": 0.0, "history-blind": 0.5, "bayes-filter": 0.87, "myopic-oracle": 0.8, "planning-oracle": 1.0}
_LEVEL_OF_FAMILY = {"rule": 0.22, "bandit": 0.3, "supervised": 0.35, "reinforcement": 0.45, "library": 0.12}
_LEARNS = ("reinforcement", "library")
_NUM_STEPS, _T = 50_000, 50

_ORIGIN: dict[str, Any] = {
    "command": "python -m benchmarks run --suite made --out runs/made",
    "commit": "0123456789ab",
    "versions": {"python": "3.11.7", "recsim-env": "0.1.0+0a1b2c3d", "numpy": "2.4.6"},
    "machine": "x86_64, made processor, 2 cores",
    "date": "2026-11-24T01:55:06+00:00",
}


def made_rows(
    agents: Sequence[str] = TEN,
    scenarios: Sequence[str] = tuple(SCALES),
    num_seeds: int = 5,
    num_sessions: int = 100,
    num_evaluations: int = 5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of each agent x scenario x seed; agents that do not learn have one row with each seed.

    With one seed the same evaluation sessions are easy or hard for every agent, so that returns are paired.
    """
    generator = np.random.default_rng(seed)
    skill = {name: _LEVEL_OF_FAMILY.get(FAMILY_OF[name], 0.0) + generator.normal(0.0, 0.12) for name in agents}
    rows = []
    for scenario in scenarios:
        low, high = SCALES[scenario]
        ease = generator.normal(0.0, 0.22 * (high - low), (num_seeds, num_sessions))
        for agent in agents:
            level = _LEVELS.get(agent, skill[agent] + generator.normal(0.0, 0.06))
            for run in range(num_seeds):
                final = level if agent in _LEVELS else level + generator.normal(0.0, 0.035)
                for n in range(num_evaluations + 1) if FAMILY_OF[agent] in _LEARNS else [num_evaluations]:
                    grown = final * (1.0 - np.exp(-3.0 * n / num_evaluations)) / (1.0 - np.exp(-3.0))
                    noise = generator.normal(0.0, 0.1 * (high - low), num_sessions)
                    returns = low + grown * (high - low) + ease[run] + noise
                    share = n / num_evaluations if FAMILY_OF[agent] in _LEARNS else 0.0
                    rows.append(_row(agent, scenario, run, share, grown, returns))
                rows[-1] |= _final(grown, returns, generator)
    return rows


def failed(row: dict[str, Any], error: str = "ValueError: loss is not finite (update 12)") -> dict[str, Any]:
    """The row that a run leaves that failed where `row` would have been."""
    kept = ("suite", "agent", "family", "scenario", "seed", "run", "version", *_ORIGIN)
    of_run = {"env_steps": 0, "wall_s": 0.0, "is_final": True, "status": "failed", "error": error}
    return {**{key: row[key] for key in kept}, **of_run}


def _row(agent: str, scenario: str, seed: int, share: float, level: float, returns: np.ndarray) -> dict[str, Any]:
    return {
        "suite": "made",
        "agent": agent,
        "family": FAMILY_OF[agent],
        "scenario": scenario,
        "seed": seed,
        "env_steps": int(share * _NUM_STEPS),
        "run": f"{agent}-{scenario}-{seed}",
        "version": _ORIGIN["versions"]["recsim-env"],
        "is_final": False,
        "status": "ok",
        "return_mean": float(returns.mean()),
        "return_sem": float(returns.std(ddof=1) / np.sqrt(len(returns))),
        "session_length_mean": 26.0 + 22.0 * level,
        "churn": max(0.02, 0.9 - 0.8 * level),
        "wall_s": round(share * (12.0 + 9.0 * (len(agent) % 5)), 3),
        "num_sessions": len(returns),
        **_ORIGIN,
    }


def _final(level: float, returns: np.ndarray, generator: np.random.Generator) -> dict[str, Any]:
    steps = np.arange(_T)
    ramp = (1.2 + 2.4 * level * (1.0 - np.exp(-steps / 8.0)) + generator.normal(0.0, 0.05, _T)).tolist()
    starts = [0, *(2**n for n in range(15))]
    ages = (1.2 + 2.0 * level + 0.1 * np.arange(16) + generator.normal(0.0, 0.05, 16)).tolist()
    showings = [0, 3, *range(20, 34)]
    num_sessions = {"num_sessions": np.linspace(len(returns), 10, _T).astype(int).tolist()}
    tenures = [1.2 + 2.0 * level, *[None] * 4, *(1.3 + 2.0 * level + 0.1 * n for n in range(3)), *[None] * 8]
    return {
        "is_final": True,
        "steps_per_s": 2_000.0 + 400.0 * float(generator.uniform()),
        "peak_memory_mib": 600.0 + 80.0 * float(generator.uniform()),
        "returns": returns.tolist(),
        "metrics": {
            "regret": None,
            "session_length": 26.0 + 22.0 * level,
            "churn": max(0.02, 0.9 - 0.8 * level),
            "catalog_coverage": float(np.clip(0.9 - 0.6 * level + generator.normal(0.0, 0.05), 0.02, 1.0)),
            "exposure_gini": float(np.clip(0.3 + 0.5 * level + generator.normal(0.0, 0.03), 0.0, 1.0)),
            "intra_list_diversity": float(np.clip(0.8 - 0.4 * level + generator.normal(0.0, 0.08), 0.0, 1.0)),
            "novelty": 8.0 - 3.0 * level,
            "new_item_exposure": float(np.clip(0.2 - 0.1 * level + generator.normal(0.0, 0.03), 0.0, 1.0)),
            "share_discovered": 0.4 + 0.3 * level,
            "steps_to_discovery": 30.0 - 10.0 * level,
        },
        "curves": {
            "by_step": {"reward": ramp, **num_sessions},
            "by_step_cold": {"reward": ramp, **num_sessions},
            "by_item_age": {"starts": starts, "reward": [None, *ages[1:]], "num_exposures": showings},
            "by_tenure": {
                "starts": starts,
                "reward": tenures,
                "return": tenures,
                "num_sessions": [0 if reward is None else 30 for reward in tenures],
            },
        },
        "settings": {"learning_rate": 3e-4, "width": 64} if level not in _LEVELS.values() else {},
    }


ENDS = (("random", 20.0), ("planning-oracle", 60.0))
"""Returns of the references in `with_references`."""


def final_row(agent: str, value: float, scenario: str = "Video", seed: int = 0, **others: Any) -> dict[str, Any]:
    """A final row with ten sessions of the same return."""
    family = {"random": "reference", "planning-oracle": "reference", "popularity": "rule"}.get(agent, "reinforcement")
    row = {"suite": "small", "agent": agent, "family": family, "scenario": scenario, "seed": seed, "env_steps": 0}
    row |= {"run": f"{agent} {scenario} {seed}", "version": "0.1.0", "is_final": True, "status": "ok", "wall_s": 0.0}
    row |= {"return_mean": value, "return_sem": 1.0, "returns": [value] * 10, "settings": {}}
    return {**row, "session_length_mean": 40.0, "churn": 0.1, **_ORIGIN, **others}


def with_references(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows and those of both references in Video with seed 0."""
    return [*(final_row(agent, value) for agent, value in ENDS), *rows]
