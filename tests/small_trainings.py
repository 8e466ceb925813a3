"""Trainings of the large model that are small enough for tests, in the probe environments."""

from typing import Any

import probe_compact_env  # noqa: F401  (registers the ids)
import torch
from probe_environments import PROBES
from small_large_models import steps_of

from agents.large_model.config import TrainingConfig
from agents.large_model.distributed import ProcessGroup

BACKBONE = {"width": 16, "num_layers": 1, "num_heads": 2, "num_key_heads": 2, "hidden_width": 32}
SIZES = {
    **BACKBONE,
    "item_width": 16,
    "candidate_width": 16,
    "num_word_buckets": 16,
    "word_width": 4,
    "num_value_bins": 25,
}
FAST = {"learning_rate": 2e-2, "num_epochs": 4}
SMALL: dict[str, Any] = {
    "model_overrides": SIZES,
    "num_envs": 64,
    "batch_sessions": 64,
    "num_catalogs": 1,
    "warm_up_updates": 5,
    "weight_decay": 0.0,
    "stage_overrides": {"supervised": FAST, "distillation": FAST, "reinforcement": FAST},
}
HERE = ProcessGroup(device=torch.device("cpu"))


def config_of(probe: str, gamma: float = 0.6, seed: int = 0, **stages: int) -> TrainingConfig:
    """So many sessions in each of the stages."""
    env_ids = (f"probes/{probe}-compact-v0",)
    return TrainingConfig(
        env_ids=env_ids,
        env_arguments={},
        gamma=gamma,
        seed=seed,
        **steps_of(PROBES[probe].num_steps, **stages),
        **SMALL,
    )
