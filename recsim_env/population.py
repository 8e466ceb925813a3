"""The users of a world: what they like, how they rate, how long they stay, and what the platform sees of it.

Shape legend: N users, D interest factors, P profile features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsim_env.config import PopulationConfig
from recsim_env.user_model import user_dtype


@dataclass(frozen=True, kw_only=True)
class Users:
    """Who the users are, as each of them begins a session."""

    interests: np.ndarray
    """[N, D] float64: likes and dislikes (latent)."""
    rating_bias: np.ndarray
    """[N] float64: leniency, in units of rating noise (latent)."""
    rating_scale: np.ndarray
    """[N] float64, positive: how far ratings spread (latent)."""
    patience: np.ndarray
    """[N] float64, positive (latent)."""
    receptiveness: np.ndarray
    """[N] float64 in [0, 1]: how readily interests move (latent)."""
    profiles: np.ndarray
    """[N, P] float32 in [-1, 1]: what the platform sees."""
    profile_names: Sequence[str]

    def __len__(self) -> int:
        return len(self.rating_bias)


def draw_temper(
    config: PopulationConfig, num_users: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """[N] patience ~ max(1, Normal) and [N] receptiveness ~ mean x Uniform(0, 2), at most 1."""
    patience = config.patience_mean + config.patience_sd * generator.standard_normal(num_users)
    receptiveness = config.receptiveness_mean * generator.uniform(0.0, 2.0, num_users)
    return np.maximum(patience, 1.0), np.minimum(receptiveness, 1.0)


def draw_synthetic_users(
    config: PopulationConfig,
    num_factors: int,
    structure_generator: np.random.Generator,
    generator: np.random.Generator,
) -> Users:
    """Users around taste clusters, with a noisy profile of their interests.

    `structure_generator` draws what all populations of a scenario share (the clusters, the profile's directions),
    `generator` the people. w = mu_cluster + interest_sd · e; profile = tanh(w B / sd(w B) + profile_noise · e').
    """
    clusters = config.cluster_scale * structure_generator.standard_normal((config.num_clusters, num_factors))
    directions = structure_generator.standard_normal((num_factors, num_factors)) / np.sqrt(num_factors)
    membership = generator.integers(config.num_clusters, size=config.num_users)
    spread = config.interest_sd * generator.standard_normal((config.num_users, num_factors))
    interests = clusters[membership] + spread
    typical = np.sqrt(config.cluster_scale**2 + config.interest_sd**2) or 1.0
    noise = config.profile_noise * generator.standard_normal(interests.shape)
    patience, receptiveness = draw_temper(config, config.num_users, generator)
    return Users(
        interests=interests,
        rating_bias=config.rating_bias_sd * generator.standard_normal(config.num_users),
        rating_scale=np.exp(config.rating_scale_sd * generator.standard_normal(config.num_users)),
        patience=patience,
        receptiveness=receptiveness,
        profiles=np.tanh(interests @ directions / typical + noise).astype(np.float32),
        profile_names=tuple(f"profile {d + 1}" for d in range(num_factors)),
    )


def user_records(users: Users) -> np.ndarray:
    """[N] records of `user_model.user_dtype`: the latent side of the population."""
    records = np.zeros(len(users), user_dtype(users.interests.shape[1]))
    for name in ("interests", "rating_bias", "rating_scale", "patience", "receptiveness"):
        records[name] = getattr(users, name)
    return records
