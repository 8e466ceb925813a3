"""Large models small enough for tests, in worlds with sessions of a few steps, some of which end early."""

from typing import Any

import torch

from agents.large_model.config import ModelConfig
from agents.large_model.env import make_env
from agents.large_model.model import LargeModelNetwork
from agents.large_model.rollout import Sessions, play
from agents.large_model.session_state import PolicyRunner
from agents.networks.item_content import ItemContent
from agents.networks.schema import Schema

CPU = torch.device("cpu")
NUM_LANES, LENGTH = 12, 8

WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    "single items": ("recsim_env/Video-v0", {}),
    "slates": ("recsim_env/VideoSlate-v0", {}),
    "warm users": ("recsim_env/Music-v0", {"warm_share": 0.8}),
    "creators": ("recsim_env/Social-v0", {"warm_share": 0.5}),
}
"""Env ids, and the population; all users have so little patience that sessions end at different steps."""


def options_of(world: str) -> tuple[str, dict[str, Any]]:
    """The env id and the other arguments of `gymnasium.make_vec`."""
    env_id, population = WORLDS[world]
    overrides = {"population": {**population, "patience_mean": 1.0}, "behaviour": {"patience_skip": 0.6}}
    return env_id, {"session_length": LENGTH, "overrides": overrides}


def env_of(world: str, num_envs: int = NUM_LANES) -> Any:
    env_id, options = options_of(world)
    return make_env(env_id, num_envs, **options)


def small_config(**overrides: int) -> ModelConfig:
    backbone = {"width": 16, "num_layers": 2, "num_heads": 4, "num_key_heads": 2, "hidden_width": 24, "max_tokens": 128}
    others = {
        "item_width": 24,
        "candidate_width": 20,
        "num_word_buckets": 64,
        "word_width": 8,
        "num_value_bins": 21,
        "memory_channels": 6,
    }
    return ModelConfig(**{**backbone, **others, **overrides})


def perturbed(network: LargeModelNetwork, scale: float = 0.2, seed: int = 0) -> LargeModelNetwork:
    """Add noise to all weights: those that are zero at first would hide faults of the others."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(scale * torch.randn(weight.shape, generator=generator))
    return network


def network_for(env: Any, has_images: bool = False, has_audio: bool = False, **sizes: int) -> LargeModelNetwork:
    torch.manual_seed(0)
    return perturbed(LargeModelNetwork(small_config(**sizes), Schema.of([env.simulator], has_images, has_audio)))


def steps_of(scale: int, supervised: int = 0, distillation: int = 0, reinforcement: int = 0) -> dict[str, Any]:
    """Fields of a `TrainingConfig` whose stages have so many steps, times `scale`."""
    total = supervised + distillation + reinforcement
    shares = {"supervised_share": supervised / total, "distillation_share": distillation / total}
    return {"num_steps": scale * total, **shares}


def runner_of(network: LargeModelNetwork, env: Any, num_sessions: int, reads_history: bool = True) -> PolicyRunner:
    return PolicyRunner(network, env.simulator, network.content_of(env), num_sessions, reads_history)


def content_for(env: Any, network: LargeModelNetwork) -> ItemContent:
    return network.content_of(env)


def played(network: LargeModelNetwork, env: Any, content: ItemContent, seed: int = 3, **behaviour: Any) -> Sessions:
    generator = torch.Generator().manual_seed(seed)
    return play(network, env, content, seed=seed, generator=generator, **behaviour)
