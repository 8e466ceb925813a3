"""Which settings of an agent are tuned, and the values that each may take: data for `python -m benchmarks tune`."""

from typing import Any

Space = dict[str, tuple[Any, ...]]

_PPO: Space = {
    "learning_rate": (3e-4, 1e-3, 2e-3),
    "gamma": (0.9, 0.95, 0.97, 0.99),
    "ent_coef": (0.001, 0.003, 0.01),
    "n_epochs": (4, 8, 12),
    "n_steps": (32, 64),
}

SPACES: dict[str, Space] = {
    "popularity": {"prior_impressions": (1.0, 5.0, 20.0, 80.0, 300.0)},
    "linucb": {"alpha": (0.1, 0.25, 0.5, 1.0, 2.0), "ridge": (0.3, 1.0, 3.0)},
    "eb-linucb": {"alpha": (0.0, 0.1, 0.25, 0.5, 1.0)},
    "ppo": _PPO,
    "a2c": {
        "learning_rate": (5e-4, 1e-3, 2e-3, 4e-3),
        "gamma": (0.9, 0.95, 0.97, 0.99),
        "ent_coef": (0.001, 0.003, 0.01),
        "n_steps": (5, 8, 16),
    },
    "dqn": {
        "learning_rate": (3e-4, 1e-3, 2e-3),
        "gamma": (0.9, 0.95, 0.97),
        "gradient_steps": (4, 8),
        "target_update_interval": (500, 1_000, 2_000),
        "exploration_fraction": (0.1, 0.3),
    },
}
"""By agent; trial 0 of each is what the roster says."""
