"""Random scenarios: every coefficient and every mechanism drawn from documented ranges.

An agent that is trained in thousands of them has to find out within a session how the current one works (domain
randomisation: Tobin et al., IROS 2017; in-context reinforcement learning: Duan et al., "RL^2", 2016). The named presets
lie within the ranges, but none of them is ever drawn.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsim_env.config import SECTIONS, Scenario, check_number, unknown_name

SAMPLE_SPLITS = ("train", "validation", "test")
"""Disjoint families of sampled scenarios."""

NUM_RESERVED = 64
"""Scenarios in each of the families `validation` and `test`: seeds 0 to 63."""


@dataclass(frozen=True)
class Range:
    """An interval from which a coefficient is drawn, uniformly or, with `is_log`, uniformly in its logarithm."""

    low: float
    high: float
    is_log: bool = False
    kind: type = float

    def draw(self, generator: np.random.Generator) -> Any:
        """A number in [low, high]; a whole one if `kind` is int."""
        if self.is_log:
            value = float(np.exp(generator.uniform(np.log(self.low), np.log(self.high))))
        else:
            value = float(generator.uniform(self.low, self.high))
        return round(value) if self.kind is int else value


def _log(low: float, high: float) -> Range:
    return Range(low, high, is_log=True)


def _whole(low: int, high: int, is_log: bool = False) -> Range:
    return Range(low, high, is_log, int)


NUM_AVAILABLE = _log(120.0, 1_500.0)
"""Items available at a time; arrivals per step follow from it and the items' lifetime."""

RANGES: dict[str, dict[str, Range]] = {
    "catalog": {
        "num_topics": _whole(4, 24),
        "topic_concentration": _log(0.1, 0.6),
        "quality_sd": Range(0.3, 1.2),
        "appeal_sd": Range(0.6, 1.8),
        "appeal_quality_correlation": Range(-0.9, 0.3),
        "feature_noise": _log(0.03, 0.4),
        "quality_cue": Range(0.1, 1.5),
        "appeal_cue": Range(0.3, 2.0),
        "cue_noise": Range(0.2, 1.0),
        "item_lifetime": _whole(12, 3_200, is_log=True),
        "impressions_per_step": _log(0.15, 6.0),
    },
    "population": {
        "num_clusters": _whole(3, 16),
        "cluster_scale": Range(0.6, 2.8),
        "interest_sd": Range(0.5, 2.0),
        "rating_bias_sd": Range(0.1, 0.8),
        "rating_scale_sd": Range(0.05, 0.4),
        "patience_mean": _log(1.5, 8.0),
        "patience_sd": Range(0.15, 0.9),
        "receptiveness_mean": Range(0.0, 0.15),
        "profile_noise": Range(0.4, 2.0),
        "warm_steps": _whole(10, 40),
    },
    "behaviour": {
        "continue_probability": Range(0.7, 0.95),
        "choose_again_probability": Range(0.3, 0.7),
        "choice_intercept": Range(-3.5, 4.0),
        "choice_affinity": Range(0.6, 1.5),
        "choice_appeal": Range(0.3, 2.2),
        "choice_distrust": Range(0.5, 9.0),
        "rating_affinity": Range(0.6, 1.5),
        "rating_quality": Range(0.6, 1.5),
        "rating_noise": Range(0.6, 1.5),
        "expectation_appeal": Range(0.1, 1.5),
        "rating_probability": Range(0.5, 1.0),
        "consumption_affinity": Range(0.5, 1.5),
        "consumption_quality": Range(0.5, 1.5),
        "consumption_noise": Range(0.2, 1.0),
        "interest_limit": Range(3.0, 12.0),
        "satiation_decay": Range(0.85, 0.99),
        "initial_trust": Range(0.2, 1.0),
        "trust_gain": _log(0.03, 0.3),
        "trust_loss": _log(0.03, 0.3),
        "patience_gain": _log(0.1, 1.2),
        "patience_skip": _log(0.1, 0.6),
        "patience_limit": Range(5.0, 15.0),
    },
    "session": {
        "session_length": _whole(30, 80),
        "num_candidates": _whole(10, 40),
    },
}
"""Coefficients of every sampled scenario; those that are not named keep their defaults."""

MECHANISMS: dict[str, tuple[float, dict[str, dict[str, Range]]]] = {
    "shop": (
        0.25,
        {
            "catalog": {"price_mean": _log(0.4, 2.5), "price_sd": Range(0.2, 1.0)},
            "population": {"budget_mean": _log(4.0, 25.0), "budget_sd": Range(0.2, 0.7)},
            "behaviour": {
                "purchase_intercept": Range(-3.5, -0.5),
                "purchase_affinity": Range(0.8, 2.2),
                "purchase_quality": Range(0.6, 1.5),
                "purchase_price": Range(0.2, 1.2),
                "satiation_purchase": Range(0.5, 3.0),
                "trust_no_purchase": _log(0.01, 0.1),
            },
        },
    ),
    "satiation": (0.85, {"behaviour": {"satiation_gain": _log(0.1, 1.8)}}),
    "freshness": (
        0.4,
        {"behaviour": {"choice_freshness": Range(0.3, 2.0), "freshness_half_life": _log(3.0, 30.0)}},
    ),
    "creators": (
        0.35,
        {
            "catalog": {"num_creators": _whole(6, 60, is_log=True), "creator_share": Range(0.3, 0.9)},
            "behaviour": {
                "choice_follow": Range(1.0, 4.0),
                "follow_probability": Range(0.4, 1.0),
                "unfollow_probability": Range(0.2, 0.8),
            },
        },
    ),
    "moods": (
        0.25,
        {
            "population": {"num_moods": _whole(2, 6), "mood_scale": Range(0.4, 1.8)},
            "behaviour": {"mood_change": _log(0.02, 0.1), "mood_delay": _whole(2, 10)},
        },
    ),
    "repeats": (
        0.25,
        {
            "catalog": {"repeat_share": Range(0.05, 0.4)},
            "behaviour": {"repeat_gain": Range(0.3, 1.5), "repeat_boredom": Range(0.15, 0.8)},
        },
    ),
    "warm users": (0.7, {"population": {"warm_share": Range(0.05, 1.0)}}),
    "neutral rating": (0.7, {"reward": {"neutral_rating": Range(1.0, 3.0)}}),
    "click reward": (0.15, {"reward": {"click": Range(0.2, 1.5)}}),
    "consumption reward": (0.15, {"reward": {"consumption": Range(0.2, 1.5)}}),
    "retention reward": (0.15, {"reward": {"retention": Range(0.1, 1.0)}}),
    "visits": (
        0.05,
        {
            "lifetime": {
                "num_days": _whole(10, 40),
                "day_length": _whole(10, 30),
                "visit_length": _whole(6, 15),
                "churn_days": Range(4.0, 20.0),
                "return_rate": _log(0.25, 1.5),
                "return_satisfaction": Range(1.0, 6.0),
                "return_habit": Range(0.3, 2.0),
                "satisfaction_rate": _log(0.05, 0.2),
                "habit_gain": _log(0.05, 0.2),
                "habit_decay": _log(0.05, 0.2),
                "trust_recovery": _log(0.02, 0.12),
                "interest_drift": _log(0.02, 0.12),
            },
            "reward": {"active_day": Range(0.5, 4.0)},
        },
    ),
}
"""Mechanisms: the probability that a scenario has it, and the coefficients that are drawn if so. Without it they keep
their defaults, which switch it off."""

_REPEAT_AFTER = _whole(10, 200, is_log=True)
_REPEAT_AFTER_SHARE = 0.3  # of the scenarios without repeats at once
_MAX_LIFETIME_STEPS = 400
_AUDIO_SHARE = 0.4  # of scenarios whose items have audio
_OTHER_CANDIDATES = 0.3  # share of scenarios with another source, and with another order of candidates


def sample_scenario(seed: int, split: str = "train") -> Scenario:
    """A scenario with every coefficient of `RANGES`, and every mechanism of `MECHANISMS`, drawn at random.

    Args:
        seed: at least 0; below `NUM_RESERVED` in the families that are reserved.
        split: family of the scenario. `train` is for training; `validation` selects settings and checkpoints; `test`
            is for final results. The same seed gives different scenarios in different families, and the people and
            items of an env differ from those of every other scenario.

    Raises:
        ValueError: an unknown family, or a seed out of its range.
    """
    if split not in SAMPLE_SPLITS:
        raise ValueError(f"split={split!r}: {unknown_name(split, SAMPLE_SPLITS)}")
    check_number("seed", seed, 0, 2**31 - 1 if split == "train" else NUM_RESERVED - 1, int)
    name = f"Sampled {split} {seed}"
    generator = np.random.default_rng([zlib.crc32(b"sampled scenario"), SAMPLE_SPLITS.index(split), seed])
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    _draw(RANGES, values, generator)
    mechanisms = set()
    for mechanism, (probability, ranges) in MECHANISMS.items():
        is_on, own = generator.random() < probability, np.random.default_rng(generator.integers(2**63))
        if is_on:
            mechanisms.add(mechanism)
            _draw(ranges, values, own)
    _draw_rest(mechanisms, values, generator)
    sections = {section: kind(**values[section]) for section, kind in SECTIONS.items()}
    return Scenario(name=name, **sections)


def _draw(
    ranges: dict[str, dict[str, Range]], values: dict[str, dict[str, Any]], generator: np.random.Generator
) -> None:
    for section, of_section in ranges.items():
        for name, each in of_section.items():
            values[section][name] = each.draw(generator)


def _draw_rest(mechanisms: set[str], values: dict[str, dict[str, Any]], generator: np.random.Generator) -> None:
    """What depends on other draws: repeats, arrivals, the number of items, retrieval, audio, and the length of
    lifetimes."""
    catalog, session = values["catalog"], values["session"]
    values["behaviour"]["is_shop"] = "shop" in mechanisms
    if "satiation" not in mechanisms:
        values["behaviour"]["satiation_gain"] = 0.0
    if "repeats" in mechanisms:
        catalog["repeat_after"] = 0
    elif generator.random() < _REPEAT_AFTER_SHARE:
        catalog["repeat_after"] = _REPEAT_AFTER.draw(generator)
    num_steps = session["session_length"]
    if "visits" in mechanisms:
        num_steps = values["lifetime"]["num_days"] * values["lifetime"]["day_length"]
        session["session_length"] = min(num_steps, _MAX_LIFETIME_STEPS)
    num_available = NUM_AVAILABLE.draw(generator)
    catalog["arrivals_per_step"] = num_available / catalog["item_lifetime"]
    released_before = 2.0 * num_available  # sessions start once half the items, or a lifetime of them, are released
    catalog["num_items"] = round(released_before + catalog["arrivals_per_step"] * 1.5 * num_steps)
    for name, others in (
        ("candidates", ("popular", "similar", "mixed")),
        ("candidate_order", ("popularity", "random")),
    ):
        if generator.random() < _OTHER_CANDIDATES:
            session[name] = str(generator.choice(others))
    catalog["has_audio"] = bool(generator.random() < _AUDIO_SHARE)
