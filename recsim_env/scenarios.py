"""The seven presets, and their lifetimes. Values that are not given here are the defaults of `config`."""

import dataclasses

from recsim_env.config import (
    BehaviourConfig,
    CatalogConfig,
    LifetimeConfig,
    PopulationConfig,
    RewardConfig,
    Scenario,
    SessionConfig,
    unknown_name,
)
from recsim_env.scenario_sampling import sample_scenario

__all__ = ["ITEMS", "LIFETIMES", "REPLAY", "SCENARIOS", "lifetime_of", "sample_scenario", "scenario_named"]

_NEUTRAL = RewardConfig(neutral_rating=2.0)
"""A rating of 1 costs what a rating of 3 pays."""

ECOMMERCE = Scenario(
    name="Ecommerce",
    metric="purchase",
    catalog=CatalogConfig(
        quality_sd=0.8,
        appeal_sd=1.0,
        appeal_quality_correlation=-0.5,
        repeat_after=40,
        price_mean=1.0,
        price_sd=0.6,
    ),
    population=PopulationConfig(
        cluster_scale=1.5,
        interest_sd=1.2,
        patience_mean=2.5,
        patience_sd=0.6,
        budget_mean=10.0,
        budget_sd=0.4,
        warm_share=0.5,
    ),
    behaviour=BehaviourConfig(
        is_shop=True,
        initial_trust=0.5,
        choice_intercept=0.0,
        choice_distrust=5.0,
        purchase_intercept=-2.0,
        purchase_affinity=1.5,
        purchase_price=0.5,
        interest_limit=6.0,
        satiation_gain=0.0,
        satiation_purchase=2.0,
        satiation_decay=0.97,
        trust_gain=0.2,
        trust_loss=0.2,
        trust_no_purchase=0.04,
        patience_gain=0.8,
        patience_skip=0.3,
    ),
    reward=_NEUTRAL,
)
"""Prices, budgets, and purchases that satisfy the demand for a category for a while."""

SOCIAL = Scenario(
    name="Social",
    metric="click",
    catalog=CatalogConfig(
        num_items=6_000,
        arrivals_per_step=8.0,
        item_lifetime=40,
        quality_sd=0.6,
        appeal_sd=1.2,
        appeal_quality_correlation=-0.6,
        num_creators=24,
        creator_share=0.7,
        impressions_per_step=2.0,
    ),
    population=PopulationConfig(cluster_scale=1.5, interest_sd=1.2, patience_mean=4.0, patience_sd=0.5, warm_share=0.3),
    behaviour=BehaviourConfig(
        initial_trust=0.4,
        choice_intercept=0.8,
        choice_appeal=1.5,
        choice_distrust=6.0,
        choice_freshness=1.0,
        freshness_half_life=8.0,
        choice_follow=2.5,
        follow_probability=0.8,
        unfollow_probability=0.5,
        interest_limit=6.0,
        satiation_gain=1.0,
        satiation_decay=0.97,
        trust_gain=0.1,
        trust_loss=0.1,
        patience_skip=0.2,
    ),
    reward=_NEUTRAL,
)
"""Creators whom users follow and unfollow, and posts that fade within a session."""

MUSIC = Scenario(
    name="Music",
    metric="consumption",
    catalog=CatalogConfig(
        arrivals_per_step=0.5,
        item_lifetime=1_600,
        quality_sd=0.6,
        appeal_sd=1.2,
        appeal_quality_correlation=-0.5,
        repeat_share=0.2,
        repeat_after=0,
        has_audio=True,
    ),
    population=PopulationConfig(
        cluster_scale=1.2,
        interest_sd=1.2,
        patience_mean=4.0,
        patience_sd=0.5,
        warm_share=0.7,
        num_moods=4,
        mood_scale=1.0,
    ),
    behaviour=BehaviourConfig(
        initial_trust=0.4,
        choice_intercept=2.5,
        choice_appeal=1.5,
        choice_distrust=7.0,
        expectation_appeal=0.8,
        repeat_gain=0.8,
        repeat_boredom=0.4,
        mood_change=0.05,
        interest_limit=6.0,
        satiation_gain=1.0,
        satiation_decay=0.97,
        trust_gain=0.08,
        trust_loss=0.08,
        patience_skip=0.3,
    ),
    reward=_NEUTRAL,
)
"""Repeats that are first welcome, then boring; satiation; moods that become visible late."""

VIDEO = Scenario(
    name="Video",
    metric="consumption",
    catalog=CatalogConfig(quality_sd=0.6, appeal_sd=1.2, appeal_quality_correlation=-0.5),
    population=PopulationConfig(cluster_scale=2.0, interest_sd=1.4, patience_mean=4.0, patience_sd=0.5),
    behaviour=BehaviourConfig(
        initial_trust=0.5,
        choice_appeal=1.5,
        choice_distrust=6.0,
        interest_limit=8.0,
        satiation_gain=1.0,
        satiation_decay=0.97,
        trust_gain=0.08,
        trust_loss=0.08,
    ),
    reward=_NEUTRAL,
)
"""Appeal against quality: trust is built by good videos and spent on clickbait; users tire of topics, and leave."""

NEWS = Scenario(
    name="News",
    metric="click",
    catalog=CatalogConfig(
        num_items=6_000,
        arrivals_per_step=8.0,
        item_lifetime=25,
        quality_sd=0.6,
        appeal_sd=1.4,
        appeal_quality_correlation=-0.7,
        impressions_per_step=1.0,
    ),
    population=PopulationConfig(cluster_scale=2.0, interest_sd=1.4, patience_mean=2.5, patience_sd=0.6),
    behaviour=BehaviourConfig(
        initial_trust=0.4,
        choice_intercept=-2.0,
        choice_appeal=1.5,
        choice_distrust=5.0,
        choice_freshness=1.0,
        interest_limit=8.0,
        satiation_gain=0.8,
        satiation_decay=0.97,
        trust_gain=0.2,
        trust_loss=0.2,
        patience_gain=0.8,
    ),
    reward=_NEUTRAL,
)
"""Items that arrive and expire within a session: cold start for every item, few clicks, and clickbait."""

_RATINGS_CATALOG = CatalogConfig(num_items=1_600, item_lifetime=600)
_RATINGS_BEHAVIOUR = BehaviourConfig(
    choice_appeal=0.5,
    choice_distrust=1.0,
    expectation_appeal=0.3,
    interest_limit=6.0,
    satiation_gain=0.2,
    patience_gain=0.2,
    patience_skip=0.2,
)

_RATINGS_SESSION = SessionConfig(reward_scale=0.125)

MOVIELENS = Scenario(
    name="MovieLens",
    source="ratings_log",
    catalog=_RATINGS_CATALOG,
    behaviour=_RATINGS_BEHAVIOUR,
    session=_RATINGS_SESSION,
)
"""Films and users of a real ratings log: ratings and tastes are fitted, the dynamics of a session are assumed."""

RATINGS = Scenario(
    name="Ratings",
    source="statistics",
    catalog=_RATINGS_CATALOG,
    behaviour=_RATINGS_BEHAVIOUR,
    session=_RATINGS_SESSION,
)
"""Films and users drawn from the statistics of a real ratings log; needs no data."""

REPLAY = Scenario(
    name="Replay",
    source="replay",
    catalog=CatalogConfig(arrivals_per_step=0.0),
    population=PopulationConfig(receptiveness_mean=0.0),
    behaviour=BehaviourConfig(
        rating_probability=1.0,
        satiation_gain=0.0,
        trust_gain=0.0,
        trust_loss=0.0,
        patience_gain=0.0,
        patience_skip=0.0,
    ),
    session=SessionConfig(session_length=20, reward_scale=0.125),
)
"""People of a real ratings log, who answer with the ratings that they gave; not a simulation, so not in `SCENARIOS`."""

ITEMS = Scenario(
    name="Items",
    source="items",
    catalog=CatalogConfig(arrivals_per_step=0.0),
    population=PopulationConfig(receptiveness_mean=0.0),
)
"""Items of a table, for agents that recommend to real users: there are no users to simulate, so not in `SCENARIOS`."""

SCENARIOS = {scenario.name: scenario for scenario in (ECOMMERCE, SOCIAL, MUSIC, VIDEO, NEWS, MOVIELENS, RATINGS)}
"""By name; an episode is one visit."""


def lifetime_of(scenario: Scenario) -> Scenario:
    """The scenario with users who come back: an episode is 30 days of a user's life on the platform.

    Items arrive for the longer time. Active days are rewarded, as they are what such platforms maximise.
    """
    catalog = dataclasses.replace(scenario.catalog, num_items=2 * scenario.catalog.num_items)
    return dataclasses.replace(
        scenario,
        name=f"{scenario.name}Lifetime",
        catalog=catalog,
        metric="active_day",
        reward=dataclasses.replace(scenario.reward, active_day=2.0),
        lifetime=LifetimeConfig(num_days=30, return_rate=0.5, return_satisfaction=4.0, churn_days=7.0),
        session=dataclasses.replace(scenario.session, session_length=400, reward_scale=0.125),
    )


LIFETIMES = {lifetime.name: lifetime for lifetime in map(lifetime_of, SCENARIOS.values())}
"""By name, such as `VideoLifetime`; an episode has several visits."""


def scenario_named(name: str) -> Scenario:
    """The preset of that name; `ValueError` with the known names if there is none."""
    presets = SCENARIOS | LIFETIMES | {REPLAY.name: REPLAY, ITEMS.name: ITEMS}
    if not isinstance(name, str) or name not in presets:
        raise ValueError(f"scenario={name!r}: {unknown_name(name, presets)}")
    return presets[name]
