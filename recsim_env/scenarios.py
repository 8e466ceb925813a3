"""The presets: one simulator, different worlds. A value that is not given here is the default in `config`."""

from recsim_env.config import BehaviourConfig, CatalogConfig, PopulationConfig, Scenario

VIDEO = Scenario(
    name="Video",
    source="synthetic",
    catalog=CatalogConfig(
        num_items=2_000,
        num_topics=8,
        quality_sd=0.5,
        appeal_sd=0.8,
        appeal_quality_correlation=-0.2,
        arrivals_per_step=1.0,
        shelf_life=800,
    ),
    population=PopulationConfig(cluster_scale=2.0, interest_sd=1.4, patience_mean=4.0),
    behaviour=BehaviourConfig(choice_intercept=0.5, choice_appeal=1.5, choice_distrust=4.3, interest_limit=8.0),
)
"""Appeal against quality, trust that is spent quickly and earned slowly, and viewers who leave."""

_RATINGS_CATALOG = CatalogConfig(num_items=1_600, arrivals_per_step=1.0, shelf_life=600, impressions_per_step=0.5)
_RATINGS_BEHAVIOUR = BehaviourConfig(
    choice_intercept=0.0,
    choice_appeal=0.5,
    choice_distrust=1.0,
    expectation_appeal=0.3,
    interest_limit=6.0,
    satiation_gain=0.2,
    patience_gain=0.2,
    patience_skip=0.2,
)

MOVIELENS = Scenario(name="MovieLens", source="ratings_log", catalog=_RATINGS_CATALOG, behaviour=_RATINGS_BEHAVIOUR)
"""Films and users of a real ratings log: levels and tastes are measured, the course of a session is assumed."""

RATINGS = Scenario(name="Ratings", source="statistics", catalog=_RATINGS_CATALOG, behaviour=_RATINGS_BEHAVIOUR)
"""Films and users drawn from the statistics of a real ratings log; needs no data."""

SCENARIOS = {scenario.name: scenario for scenario in (VIDEO, MOVIELENS, RATINGS)}


def scenario_named(name: str) -> Scenario:
    """The preset of that name; `ValueError` naming the known ones if there is none."""
    if name not in SCENARIOS:
        raise ValueError(f"scenario={name!r}: must be one of {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
