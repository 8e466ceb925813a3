"""The seven presets. Values that are not given here are the defaults of `config`."""

from recsim_env.config import BehaviourConfig, CatalogConfig, PopulationConfig, Scenario, unknown_name

ECOMMERCE = Scenario(
    name="Ecommerce",
    catalog=CatalogConfig(
        quality_sd=0.5,
        appeal_sd=0.4,
        price_mean=1.0,
        price_sd=0.6,
    ),
    population=PopulationConfig(
        cluster_scale=1.5, interest_sd=1.2, patience_mean=8.0, budget_mean=10.0, budget_sd=0.4, warm_share=0.5
    ),
    behaviour=BehaviourConfig(
        is_shop=True,
        choice_intercept=0.5,
        choice_distrust=1.0,
        purchase_intercept=-1.0,
        purchase_affinity=1.5,
        purchase_price=0.5,
        interest_limit=6.0,
        satiation_gain=0.0,
        satiation_purchase=2.0,
        satiation_decay=0.97,
        patience_skip=0.15,
    ),
)
"""Prices, budgets, and purchases that satisfy the demand for a category for a while."""

SOCIAL = Scenario(
    name="Social",
    catalog=CatalogConfig(
        num_items=6_000,
        arrivals_per_step=8.0,
        item_lifetime=40,
        quality_sd=0.6,
        appeal_sd=0.5,
        num_creators=24,
        creator_share=0.7,
        impressions_per_step=2.0,
    ),
    population=PopulationConfig(cluster_scale=1.5, interest_sd=1.2, patience_mean=4.0, warm_share=0.3),
    behaviour=BehaviourConfig(
        choice_intercept=-1.0,
        choice_freshness=1.0,
        freshness_half_life=8.0,
        choice_follow=2.5,
        follow_probability=0.8,
        unfollow_probability=0.5,
        interest_limit=6.0,
        satiation_gain=0.2,
        patience_skip=0.2,
    ),
)
"""Creators whom users follow and unfollow, and posts that fade within a session."""

MUSIC = Scenario(
    name="Music",
    catalog=CatalogConfig(
        arrivals_per_step=0.5,
        item_lifetime=1_600,
        quality_sd=0.8,
        appeal_sd=0.4,
        repeat_share=0.2,
        has_audio=True,
    ),
    population=PopulationConfig(
        cluster_scale=1.2, interest_sd=1.2, patience_mean=4.0, warm_share=0.7, num_moods=4, mood_scale=1.0
    ),
    behaviour=BehaviourConfig(
        choice_appeal=0.7,
        choice_distrust=1.0,
        expectation_appeal=0.5,
        repeat_gain=0.8,
        repeat_boredom=0.2,
        mood_change=0.05,
        interest_limit=6.0,
        satiation_gain=0.3,
        patience_skip=0.4,
    ),
)
"""Repeats that are first welcome, then boring; satiation; moods that become visible late."""

VIDEO = Scenario(
    name="Video",
    catalog=CatalogConfig(quality_sd=0.4, appeal_sd=0.8, appeal_quality_correlation=-0.2),
    population=PopulationConfig(cluster_scale=2.0, interest_sd=1.4, patience_mean=4.0),
    behaviour=BehaviourConfig(choice_intercept=0.5, choice_appeal=1.5, choice_distrust=4.3, interest_limit=8.0),
)
"""Appeal against quality, trust that is lost quickly and earned slowly, and users who leave."""

NEWS = Scenario(
    name="News",
    catalog=CatalogConfig(
        num_items=6_000,
        arrivals_per_step=8.0,
        item_lifetime=25,
        quality_sd=0.5,
        appeal_sd=0.8,
        appeal_quality_correlation=-0.2,
        impressions_per_step=1.0,
    ),
    population=PopulationConfig(cluster_scale=2.0, interest_sd=1.4, patience_mean=4.0),
    behaviour=BehaviourConfig(
        choice_appeal=1.2,
        choice_distrust=3.5,
        choice_freshness=1.0,
        interest_limit=8.0,
    ),
)
"""Items that arrive and expire within a session: cold start for every item, and clickbait."""

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

MOVIELENS = Scenario(name="MovieLens", source="ratings_log", catalog=_RATINGS_CATALOG, behaviour=_RATINGS_BEHAVIOUR)
"""Films and users of a real ratings log: ratings and tastes are fitted, the dynamics of a session are assumed."""

RATINGS = Scenario(name="Ratings", source="statistics", catalog=_RATINGS_CATALOG, behaviour=_RATINGS_BEHAVIOUR)
"""Films and users drawn from the statistics of a real ratings log; needs no data."""

SCENARIOS = {scenario.name: scenario for scenario in (ECOMMERCE, SOCIAL, MUSIC, VIDEO, NEWS, MOVIELENS, RATINGS)}


def scenario_named(name: str) -> Scenario:
    """The preset of that name; `ValueError` with the known names if there is none."""
    if not isinstance(name, str) or name not in SCENARIOS:
        raise ValueError(f"scenario={name!r}: {unknown_name(name, SCENARIOS)}")
    return SCENARIOS[name]
