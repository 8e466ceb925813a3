"""The users of a world: drawn or taken from a log; interests, rating behaviour, patience and observable profiles.

Shape legend: N users, D interest factors, P profile features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsim_env.config import PopulationConfig
from recsim_env.logs.fitting.fitted_world import UserParameters
from recsim_env.simulation.records import USER, WorldSizes, dtypes
from recsim_env.world.catalog import log_normal


@dataclass(frozen=True, kw_only=True)
class Users:
    """Users of a population, at the start of a session."""

    interests: np.ndarray
    """[N, D] float64: likes and dislikes (latent)."""
    rating_bias: np.ndarray
    """[N] float64: leniency, in units of rating noise (latent)."""
    rating_scale: np.ndarray
    """[N] float64, positive: spread of the opinions (latent)."""
    patience: np.ndarray
    """[N] float64, positive (latent)."""
    receptiveness: np.ndarray
    """[N] float64 in [0, 1]: rate at which interests change (latent)."""
    budget: np.ndarray
    """[N] float64: budget of a visit, in units of price (latent)."""
    profiles: np.ndarray
    """[N, P] float32 in [-1, 1]: observable profile."""
    profile_names: Sequence[str]
    ids: Sequence[str] | None = None
    """[N] ids of the ratings log that the users come from; None without one."""

    def __len__(self) -> int:
        return len(self.rating_bias)


def draw_traits(config: PopulationConfig, num_users: int, generator: np.random.Generator) -> dict[str, Any]:
    """Traits that a ratings log does not contain, each [N].

    Patience and budget ~ log-normal, receptiveness ~ min(mean x Uniform(0, 2), 1).
    """
    patience = log_normal(config.patience_mean, config.patience_sd, num_users, generator)
    receptiveness = config.receptiveness_mean * generator.uniform(0.0, 2.0, num_users)
    return {
        "patience": patience,
        "receptiveness": np.minimum(receptiveness, 1.0),
        "budget": log_normal(config.budget_mean, config.budget_sd, num_users, generator),
    }


def draw_moods(config: PopulationConfig, num_topics: int, structure_generator: np.random.Generator) -> np.ndarray:
    """[Q, K] float64: added by each mood to the affinity with each topic; zeros if there is only one mood."""
    moods = config.mood_scale * structure_generator.standard_normal((config.num_moods, num_topics))
    return moods if config.num_moods > 1 else np.zeros_like(moods)


def draw_synthetic_users(
    config: PopulationConfig,
    num_factors: int,
    structure_generator: np.random.Generator,
    generator: np.random.Generator,
    person_generator: np.random.Generator,
) -> Users:
    """Draw synthetic users around taste clusters, with noisy profiles of their interests.

    `structure_generator` draws the clusters and the directions of the profile, which all populations of a world seed
    share; `generator` draws the users; `person_generator` what they bring to every scenario. w = mu_cluster +
    interest_sd · e, or with `shared_taste` s, sqrt(1 - s) w + sqrt(s) sd(w) · e''; profile = tanh(w B / sd(w B) +
    profile_noise · e').
    """
    clusters = config.cluster_scale * structure_generator.standard_normal((config.num_clusters, num_factors))
    directions = structure_generator.standard_normal((num_factors, num_factors)) / np.sqrt(num_factors)
    membership = generator.integers(config.num_clusters, size=config.num_users)
    spread = config.interest_sd * generator.standard_normal((config.num_users, num_factors))
    interests = clusters[membership] + spread
    typical = np.sqrt(config.cluster_scale**2 + config.interest_sd**2) or 1.0
    if config.shared_taste > 0.0:  # topic by topic, so that the first topics of all scenarios agree
        shared = person_generator.standard_normal((num_factors, config.num_users)).T
        interests = np.sqrt(1.0 - config.shared_taste) * interests + np.sqrt(config.shared_taste) * typical * shared
    noise = config.profile_noise * generator.standard_normal(interests.shape)
    return Users(
        interests=interests,
        rating_bias=config.rating_bias_sd * generator.standard_normal(config.num_users),
        rating_scale=np.exp(config.rating_scale_sd * generator.standard_normal(config.num_users)),
        **draw_traits(config, config.num_users, generator),
        profiles=np.tanh(interests @ directions / typical + noise).astype(np.float32),
        profile_names=tuple(f"profile {d + 1}" for d in range(num_factors)),
    )


def users_from_log(
    source: UserParameters, chosen: np.ndarray, config: PopulationConfig, generator: np.random.Generator
) -> Users:
    """The chosen users of a fitted log, or of users drawn from a log's statistics; the config gives other traits."""
    ids = getattr(source, "user_ids", None)
    return Users(
        interests=source.interests[chosen],
        rating_bias=source.rating_bias[chosen],
        rating_scale=source.rating_scale[chosen],
        **draw_traits(config, len(chosen), generator),
        profiles=source.user_profiles[chosen],
        profile_names=tuple(str(name) for name in source.profile_names),
        ids=None if ids is None else tuple(ids[chosen].tolist()),
    )


def user_records(users: Users, sizes: WorldSizes) -> np.ndarray:
    """[N] records of kind `USER`."""
    records = np.zeros(len(users), dtypes(sizes)[USER])
    for name in ("interests", "rating_bias", "rating_scale", "patience", "receptiveness", "budget"):
        records[name] = getattr(users, name)
    return records
