"""Search spaces of `python -m benchmarks tune`: the tuned settings of each agent and their values."""

from typing import Any

Space = dict[str, tuple[Any, ...]]

_PPO: Space = {
    "learning_rate": (5e-4, 1e-3, 2e-3),
    "gamma": (0.8, 0.9, 0.95),
    "gae_lambda": (0.8, 0.95),
    "ent_coef": (0.0005, 0.001, 0.002, 0.004),
    "num_envs": (16, 32, 64),
}
_DQN: Space = {
    "learning_rate": (3e-4, 1e-3, 2e-3),
    "gamma": (0.8, 0.9, 0.95),
    "gradient_steps": (4, 8),
    "target_update_interval": (500, 1_000, 2_000),
    "exploration_fraction": (0.1, 0.3),
}
_SAC: Space = {
    "learning_rate": (5e-4, 1e-3, 2e-3),
    "gamma": (0.8, 0.9, 0.95),
    "ent_coef": (0.0003, 0.001, 0.003),
    "gradient_steps": (2, 4),
}
_TD3: Space = {
    "learning_rate": (5e-4, 1e-3, 2e-3),
    "gamma": (0.8, 0.9, 0.95),
    "action_noise": (0.1, 0.2, 0.3, 0.5),
    "gradient_steps": (2, 4),
}
_OURS: Space = {
    "learning_rate": (1e-3, 2e-3, 4e-3),
    "gamma": (0.8, 0.9, 0.95),
    "num_epochs": (1, 2, 4),
}
_OFFLINE: Space = {"learning_rate": (1e-3, 2e-3, 4e-3), "num_updates": (1_000, 2_000, 4_000)}
_LARGE_MODEL: Space = {
    "num_envs": (16, 32, 64),
    "batch_sessions": (4, 8),
    "gamma": (0.9, 0.95, 0.99),
    "gae_lambda": (0.8, 0.9, 0.95),
}

SPACES: dict[str, Space] = {
    "popularity": {"prior_impressions": (0.1, 0.3, 1.0, 5.0, 20.0, 80.0, 300.0)},
    "content-match": {"weights": ("ratings", "clicks"), "prior_impressions": (5.0, 20.0)},
    "linucb": {"alpha": (0.25, 0.5, 1.0, 2.0, 4.0), "ridge": (0.1, 0.3, 1.0, 3.0)},
    "thompson": {"scale": (0.1, 0.25, 0.5, 1.0, 2.0), "ridge": (0.03, 0.1, 0.3, 1.0, 3.0)},
    "eb-linucb": {"alpha": (0.0, 0.1, 0.25, 0.5, 1.0), "prior_impressions": (5.0, 20.0, 60.0)},
    "eb-thompson": {"scale": (0.0, 0.1, 0.25, 0.5, 1.0), "prior_impressions": (5.0, 20.0, 60.0)},
    "neural-linear": {
        "scale": (0.0, 0.1, 0.25, 0.5),
        "random_share": (0.25, 0.5, 1.0),
        "num_epochs": (4, 8, 16),
        "last_width": (8, 16),
    },
    "item-knn": {"num_neighbors": (100, 300, 1_000), "shrinkage": (3.0, 10.0, 30.0, 100.0, 300.0)},
    "matrix-factorization": {"num_factors": (8, 16, 32, 64), "factor_ridge": (5.0, 10.0, 15.0, 20.0, 30.0)},
    "sequence-model": {
        "learning_rate": (1e-3, 2e-3, 4e-3),
        "num_epochs": (3, 5, 8),
        "num_rounds": (1, 2, 4),
        "num_layers": (1, 2),
    },
    "distilled-scorer": {
        "learning_rate": (1e-3, 2e-3, 4e-3),
        "num_epochs": (3, 6),
        "batch_size": (64, 128, 256),
    },
    "pqn": {**_OURS, "lambda_": (0.3, 0.65, 0.9), "batch_size": (64, 128, 256)},
    "slateq": {**_OURS, "lambda_": (0.3, 0.65, 0.9), "batch_size": (64, 128, 256)},
    "reinforce": {**_OURS, "entropy_weight": (0.03, 0.06, 0.1), "exploration": (0.05, 0.1, 0.2)},
    "behavior-cloning": _OFFLINE,
    "cql": {**_OFFLINE, "conservatism": (0.1, 0.3, 1.0, 3.0), "gamma": (0.8, 0.9, 0.95)},
    "iql": {**_OFFLINE, "expectile": (0.6, 0.7, 0.8, 0.9), "beta": (1.0, 3.0, 10.0), "gamma": (0.8, 0.9, 0.95)},
    "decision-transformer": {**_OFFLINE, "target_quantile": (0.7, 0.9, 0.99), "context_length": (5, 20)},
    "private-reward-model": {
        "learning_rate": (2e-3, 5e-3, 1e-2),
        "num_updates": (50, 100, 200),
        "clip_norm": (0.3, 1.0, 3.0),
    },
    "sharded-reward-model": {"learning_rate": (2e-3, 5e-3, 1e-2), "num_updates": (1_000, 2_000, 4_000)},
    "large-model": _LARGE_MODEL,
    "large-model-distilled": {**_LARGE_MODEL, "distillation_share": (0.4, 0.6)},
    "large-model-supervised": {name: _LARGE_MODEL[name] for name in ("num_envs", "batch_sessions")},
    "ppo": _PPO,
    "ppo-multi-input": _PPO,
    "ppo-mlp": _PPO,
    "a2c": {
        "learning_rate": (5e-4, 1e-3, 2e-3),
        "gamma": (0.8, 0.9, 0.95),
        "ent_coef": (0.001, 0.003, 0.01),
        "num_envs": (8, 16, 32),
    },
    "dqn": _DQN,
    "sac": _SAC,
    "td3": _TD3,
    "ddpg": _TD3,
    "wolpertinger-sac": {**_SAC, "num_neighbours": (5, 20)},
    "wolpertinger-td3": {**_TD3, "num_neighbours": (5, 20)},
    "trpo": {"learning_rate": (5e-4, 1e-3, 2e-3), "gamma": (0.8, 0.9, 0.95), "target_kl": (0.01, 0.02, 0.04)},
    "recurrent-ppo": _PPO,
    "maskable-ppo": _PPO,
    "qr-dqn": _DQN,
}
"""By agent. Trial 0 takes the settings of the registry."""
