"""What is compared with what: suites as data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agents.agent import Agent
from agents.linucb import LinUCB
from agents.myopic_oracle import MyopicOracle
from agents.popularity import PopularityAgent
from agents.random_agent import RandomAgent
from agents.sb3_learner import SB3Learner

PPO_SETTINGS: dict[str, Any] = {
    "n_steps": 64,
    "batch_size": 512,
    "n_epochs": 8,
    "learning_rate": 1e-3,
    "gamma": 0.97,
    "ent_coef": 0.003,
}
A2C_SETTINGS: dict[str, Any] = {
    "n_steps": 8,
    "learning_rate": 2e-3,
    "gamma": 0.97,
    "gae_lambda": 0.95,
    "ent_coef": 0.01,
    "normalize_advantage": True,
    "use_rms_prop": False,
}
DQN_SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "gamma": 0.95,
    "buffer_size": 50_000,
    "learning_starts": 2_000,
    "batch_size": 256,
    "train_freq": 4,
    "gradient_steps": 4,
    "target_update_interval": 1_000,
    "exploration_fraction": 0.3,
}

AGENTS: dict[str, Callable[[], Agent]] = {
    "random": RandomAgent,
    "popularity": PopularityAgent,
    "linucb": LinUCB,
    "myopic-oracle": MyopicOracle,
    "ppo": lambda: SB3Learner("PPO", **PPO_SETTINGS),
    "ppo-multi-input": lambda: SB3Learner("PPO", "MultiInputPolicy", **PPO_SETTINGS),
    "ppo-mlp": lambda: SB3Learner("PPO", "MlpPolicy", **PPO_SETTINGS),
    "a2c": lambda: SB3Learner("A2C", **A2C_SETTINGS),
    "dqn": lambda: SB3Learner("DQN", **DQN_SETTINGS),
}
"""How each agent is made, with its settings. `ppo`, `a2c` and `dqn` have the candidate-wise policy."""

ZERO, ONE = "random", "myopic-oracle"
"""The agents whose returns are the scores 0 and 1."""

TEST_CATALOG_SEED = 1_000_003
"""Catalogue on which every agent is evaluated; training uses the seed of the run, and another split."""

TEST_SESSIONS_SEED = 2_000_003
"""Seed of the first evaluation session; the same sessions for every agent."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One comparison."""

    scenarios: tuple[str, ...]
    agents: tuple[str, ...]
    num_seeds: int
    """Training seeds (for an agent that does not learn: seeds of its own randomness)."""
    num_steps: int
    """User-steps that a learner may take."""
    num_evaluations: int
    """Evaluations spread over those steps, besides the one before the first."""
    num_sessions: int
    """Evaluation sessions, the same for every agent."""


SUITES = {
    "quick": Suite(
        scenarios=("Video", "MovieLens"),
        agents=tuple(AGENTS),
        num_seeds=3,
        num_steps=50_000,
        num_evaluations=5,
        num_sessions=400,
    ),
    "smoke": Suite(
        scenarios=("Video",),
        agents=("random", "popularity", "myopic-oracle", "ppo"),
        num_seeds=2,
        num_steps=8_192,
        num_evaluations=2,
        num_sessions=64,
    ),
}
"""`quick` is what `make bench` runs; `smoke` shows in seconds that everything works."""
