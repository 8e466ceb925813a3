"""Large models small enough for tests, in worlds with sessions of a few steps, some of which end early."""

from typing import Any

import torch
from agents.large_model.sessions import Sessions
from agents.large_model.sizes import ModelSizes

from agents.large_model.model import LargeModel
from agents.large_model.rollout import Behaviour, play
from agents.large_model.worlds import make_env
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
"""Env ids, and how many of the people are warm; all have so little patience that sessions end at different steps."""


def options_of(world: str) -> tuple[str, dict[str, Any]]:
    """The env id and the other arguments of `gymnasium.make_vec`."""
    env_id, people = WORLDS[world]
    overrides = {"population": {**people, "patience_mean": 1.0}, "behaviour": {"patience_skip": 0.6}}
    return env_id, {"session_length": LENGTH, "overrides": overrides}


def env_of(world: str, num_envs: int = NUM_LANES) -> Any:
    env_id, options = options_of(world)
    return make_env(env_id, num_envs, **options)


def small_sizes(**overrides: int) -> ModelSizes:
    trunk = {"width": 16, "num_layers": 2, "num_heads": 4, "num_key_heads": 2, "hidden_width": 24, "max_tokens": 128}
    others = {"item_width": 24, "candidate_width": 20, "num_word_buckets": 64, "word_width": 8, "num_value_bins": 21}
    return ModelSizes(**{**trunk, **others, **overrides})


def perturbed(model: LargeModel, scale: float = 0.2, seed: int = 0) -> LargeModel:
    """All weights with noise: what is zero at the start would hide what is wrong with the rest."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(scale * torch.randn(weight.shape, generator=generator))
    return model


def model_for(env: Any, has_pictures: bool = False, has_sounds: bool = False, **sizes: int) -> LargeModel:
    torch.manual_seed(0)
    return perturbed(LargeModel(small_sizes(**sizes), Schema.of([env.simulator], has_pictures, has_sounds)))


def content_for(env: Any, model: LargeModel) -> ItemContent:
    return ItemContent.of(env, model.schema, model.sizes.num_word_buckets, CPU)


def played(model: LargeModel, env: Any, content: ItemContent, seed: int = 3, **behaviour: Any) -> Sessions:
    generator = torch.Generator().manual_seed(seed)
    return play(model, env, content, seed=seed, generator=generator, behaviour=Behaviour(**behaviour))
