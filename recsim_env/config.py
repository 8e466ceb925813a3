"""Configuration of a scenario: frozen keyword-only dataclasses that validate their fields.

A field states its range in its own definition (`number(...)`, `count(...)`), so that validation, error messages and
documentation agree.
"""

import dataclasses
import difflib
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np

Config = TypeVar("Config")

MAX_SLATE_SIZE = 10
MAX_CREATORS = 4_096
MAX_RATING_LEVELS = 11
MAX_SESSION_LENGTH = 100_000
MAX_TIMESTEPS = 10**15

CANDIDATE_ORDERS = ("relevance", "popularity", "category", "random")

CANDIDATE_SOURCES = ("random", "popular", "similar", "mixed")

NEVER = 10**9
"""Steps of an interval that never ends."""


def number(default: float, low: float, high: float) -> Any:
    """A real-valued field in the closed range [low, high]."""
    return field(default=default, metadata={"low": low, "high": high, "kind": float})


def count(default: int, low: int, high: int) -> Any:
    """An integer field in the closed range [low, high]."""
    return field(default=default, metadata={"low": low, "high": high, "kind": int})


def flag(default: bool) -> Any:
    """A boolean field."""
    return field(default=default, metadata={"kind": bool})


def choice(default: str, *allowed: str) -> Any:
    """A field with one of the allowed values."""
    return field(default=default, metadata={"allowed": allowed})


def check_number(name: str, value: Any, low: float, high: float, kind: type = float) -> None:
    """Raise `ValueError` with the name, the value and the allowed range unless low <= value <= high."""
    noun = "a whole number" if kind is int else "a number"
    types = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
    if not isinstance(value, types) or isinstance(value, bool) or not low <= value <= high:  # NaN included
        raise ValueError(f"{name}={value!r}: must be {noun} in [{low}, {high}]")


def unknown_name(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: `"unknown; did you mean 'action'? Must be one of action, world"`."""
    names = list(known)
    by_letters = {each.casefold(): each for each in names}  # capitals make no difference
    close = difflib.get_close_matches(str(name).casefold(), by_letters, n=1)
    suggestion = f"did you mean {by_letters[close[0]]!r}? Must" if close else "must"
    return f"unknown; {suggestion} be one of {', '.join(names)}"


def replace_fields(label: str, config: Config, values: Mapping[str, Any]) -> Config:
    """A copy of a configuration with other values of some fields.

    Raises:
        ValueError: an unknown field, named `label['name']`, or a value out of its range.
    """
    known = [spec.name for spec in dataclasses.fields(config)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise ValueError(f"{label}[{name!r}]: {unknown_name(name, known)}")
    return dataclasses.replace(config, **values)  # type: ignore[type-var]


class Checked:
    """Base class of configurations: validates each field against the range in its definition."""

    _error_prefix: ClassVar[str | None] = None
    """Precedes the name of a field in errors; by default the name of the class and a dot."""

    def __post_init__(self) -> None:
        prefix = f"{type(self).__name__}." if self._error_prefix is None else self._error_prefix
        for spec in dataclasses.fields(self):  # type: ignore[arg-type]
            name, value, limits = f"{prefix}{spec.name}", getattr(self, spec.name), spec.metadata
            if limits.get("kind") is bool and not isinstance(value, bool):
                raise ValueError(f"{name}={value!r}: must be True or False")
            if value not in limits.get("allowed", (value,)):
                raise ValueError(f"{name}={value!r}: must be one of {', '.join(limits['allowed'])}")
            if "low" in limits:
                check_number(name, value, limits["low"], limits["high"], limits["kind"])


@dataclass(frozen=True, kw_only=True)
class CatalogConfig(Checked):
    """Items: how they are drawn, released and retired."""

    num_items: int = count(2_000, 2, 50_000_000)
    """Number of items of a catalogue over its whole life."""
    num_topics: int = count(8, 2, 256)
    """Number of topics K; a synthetic item is a mixture of them."""
    topic_concentration: float = number(0.25, 0.01, 100.0)
    """Dirichlet concentration of an item's topics: a small value gives one topic per item, a large value mixes all."""
    quality_sd: float = number(1.0, 0.0, 10.0)
    """Standard deviation of quality, in units of rating noise."""
    appeal_sd: float = number(1.0, 0.0, 10.0)
    """Standard deviation of appeal, in choice logits."""
    appeal_quality_correlation: float = number(0.0, -1.0, 1.0)
    """Correlation of appeal and quality; if it is negative, clickbait is common."""
    feature_noise: float = number(0.1, 0.0, 10.0)
    """Standard deviation of the noise on each content feature."""
    quality_cue: float = number(0.5, 0.0, 10.0)
    """Strength of quality in the content features, relative to `cue_noise`."""
    appeal_cue: float = number(1.0, 0.0, 10.0)
    """Strength of appeal in the content features, relative to `cue_noise`."""
    cue_noise: float = number(0.5, 0.0, 10.0)
    """Standard deviation of the noise on the quality and appeal features, before squashing."""
    arrivals_per_step: float = number(1.0, 0.0, 1e6)
    """Mean number of items released per step (Poisson process); 0 makes a static catalogue."""
    item_lifetime: int = count(800, 1, 10**9)
    """Steps from an item's release to its retirement."""
    impressions_per_step: float = number(0.5, 0.0, 1e6)
    """Background traffic: mean impressions of an item per step by the rest of the platform."""
    new_item_share: float = number(0.0, 0.0, 1.0)
    """Share of candidates drawn from new items; 0 draws every candidate from all available items."""
    new_item_age: int = count(20, 1, 10**9)
    """Age in steps below which an item counts as new."""
    repeat_share: float = number(0.0, 0.0, 1.0)
    """Share of candidates drawn from the recently consumed items, as far as there are enough."""
    repeat_after: int = count(NEVER, 0, NEVER)
    """Steps until a consumed (in a shop: purchased) item can be a candidate again; 0 allows repeats at once."""
    num_creators: int = count(1, 1, MAX_CREATORS)
    """Number of creators, whom users can follow; each item has one."""
    creator_share: float = number(0.0, 0.0, 1.0)
    """Share of an item's topics, and of the variance of its quality, that comes from its creator."""
    price_mean: float = number(0.0, 0.0, 1e6)
    """Mean price of an item; 0 without a shop."""
    price_sd: float = number(0.5, 0.0, 3.0)
    """Standard deviation of the logarithm of the price."""
    has_audio: bool = flag(False)
    """Whether items have audio."""


@dataclass(frozen=True, kw_only=True)
class PopulationConfig(Checked):
    """Users: taste clusters, and the variation within a cluster."""

    num_users: int = count(20_000, 1, 10_000_000)
    """Number of users in a population; each session draws one of them."""
    num_clusters: int = count(8, 1, 1_000)
    """Number of taste clusters."""
    cluster_scale: float = number(1.0, 0.0, 10.0)
    """Standard deviation of the mean interests of clusters."""
    interest_sd: float = number(0.6, 0.0, 10.0)
    """Standard deviation of interests within a cluster."""
    shared_taste: float = number(0.0, 0.0, 1.0)
    """Share of the variance of interests that is the same in all scenarios: user n of one is user n of the others, and
    interests in a topic correlate by sqrt(a b) between scenarios with shares a and b. For synthetic users."""
    rating_bias_sd: float = number(0.4, 0.0, 10.0)
    """Standard deviation of the rating bias of users, in units of rating noise."""
    rating_scale_sd: float = number(0.2, 0.0, 2.0)
    """Standard deviation of the logarithm of the rating scale of users."""
    patience_mean: float = number(5.0, 0.01, 1e6)
    """Mean patience at the start of a visit, before it is capped at `patience_limit`."""
    patience_sd: float = number(0.3, 0.0, 3.0)
    """Standard deviation of the logarithm of patience at the start of a visit."""
    receptiveness_mean: float = number(0.05, 0.0, 1.0)
    """Mean share of an item's topics that a fully satisfied user adopts as interests, before it is capped at 1."""
    profile_noise: float = number(1.0, 0.0, 100.0)
    """Standard deviation of the noise on the observed profile, relative to the spread of interests."""
    warm_share: float = number(0.0, 0.0, 1.0)
    """Share of users with a logged history; the others are cold-start users."""
    warm_steps: int = count(20, 1, 10_000)
    """Maximum length of a logged history; the length is uniform from 1 to this value."""
    budget_mean: float = number(0.0, 0.0, 1e6)
    """Mean budget for a session, in units of price."""
    budget_sd: float = number(0.3, 0.0, 3.0)
    """Standard deviation of the logarithm of the budget."""
    num_moods: int = count(1, 1, 64)
    """Number of moods; a user is in one at a time, and 1 turns moods off."""
    mood_scale: float = number(0.0, 0.0, 10.0)
    """Standard deviation of the effect of a mood on the affinity with a topic."""


@dataclass(frozen=True, kw_only=True)
class BehaviourConfig(Checked):
    """Behaviour: the coefficients of examination, choice, response, change and leaving in `user_model`."""

    continue_probability: float = number(0.85, 0.0, 1.0)
    """Examination: probability of looking at the next slot after a slot."""
    choose_again_probability: float = number(0.5, 0.0, 1.0)
    """Choice: probability of considering the rest of the examined slots after a click."""
    choice_intercept: float = number(0.0, -50.0, 50.0)
    """Choice: utility of an item without affinity, appeal and distrust; no choice has utility 0."""
    choice_affinity: float = number(1.0, 0.0, 50.0)
    """Choice: logits per unit of effective affinity."""
    choice_appeal: float = number(1.0, 0.0, 50.0)
    """Choice: logits per unit of appeal."""
    choice_distrust: float = number(2.0, 0.0, 50.0)
    """Choice: logits lost as trust falls from 1 to 0."""
    choice_freshness: float = number(0.0, 0.0, 50.0)
    """Choice: logits of an item at its release, which decay with age."""
    freshness_half_life: float = number(10.0, 0.1, 1e9)
    """Choice: half-life of freshness in steps."""
    choice_follow: float = number(0.0, 0.0, 50.0)
    """Choice: additional logits of an item whose creator the user follows."""
    rating_affinity: float = number(1.0, 0.0, 50.0)
    """Rating: opinion per unit of effective affinity, in units of rating noise."""
    rating_quality: float = number(1.0, 0.0, 50.0)
    """Rating: opinion per unit of quality, in units of rating noise."""
    rating_noise: float = number(1.0, 0.01, 50.0)
    """Rating: standard deviation of the noise on an opinion."""
    expectation_appeal: float = number(1.0, 0.0, 50.0)
    """Expectation: opinion expected per unit of appeal before consumption."""
    rating_levels: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0)
    """Rating: the ratings there are, 2 to 11 ascending numbers above 0 and up to 5, such as half stars."""
    rating_cuts: tuple[float, ...] = (-1.5, -0.5, 0.5, 1.5)
    """Rating: the ascending opinions that separate the ratings, one fewer than there are ratings."""
    rating_probability: float = number(0.8, 0.0, 1.0)
    """Rating: probability that a rating is submitted, and thus observed in the history."""
    is_shop: bool = flag(False)
    """Purchase: whether items are for sale; then a click opens the item, and only purchases are rated."""
    purchase_intercept: float = number(0.0, -50.0, 50.0)
    """Purchase: logit of buying a free item without affinity and quality, after a click."""
    purchase_affinity: float = number(1.0, 0.0, 50.0)
    """Purchase: logits per unit of effective affinity."""
    purchase_quality: float = number(1.0, 0.0, 50.0)
    """Purchase: logits per unit of quality."""
    purchase_price: float = number(1.0, 0.0, 50.0)
    """Purchase: logits lost per unit of price."""
    consumption_intercept: float = number(0.0, -50.0, 50.0)
    """Consumption: logit of the consumed fraction without affinity and quality."""
    consumption_affinity: float = number(1.0, 0.0, 50.0)
    """Consumption: logits per unit of effective affinity."""
    consumption_quality: float = number(1.0, 0.0, 50.0)
    """Consumption: logits per unit of quality."""
    consumption_noise: float = number(0.5, 0.0, 50.0)
    """Consumption: standard deviation of the noise on the logit."""
    interest_limit: float = number(4.0, 0.1, 100.0)
    """Change: bound on the absolute value of an interest."""
    satiation_gain: float = number(0.4, 0.0, 10.0)
    """Change: satiation with an item's topics after its full consumption."""
    satiation_purchase: float = number(0.0, 0.0, 10.0)
    """Change: satiation with an item's topics after its purchase."""
    satiation_decay: float = number(0.9, 0.0, 0.9999)
    """Change: share of satiation that remains after a step."""
    repeat_gain: float = number(0.0, 0.0, 10.0)
    """Change: affinity gained per occurrence of an item among the recently consumed items."""
    repeat_boredom: float = number(0.0, 0.0, 10.0)
    """Change: affinity lost per squared number of occurrences, so that repeats are first welcome, then boring."""
    follow_probability: float = number(0.0, 0.0, 1.0)
    """Change: probability of following an item's creator after a rating of 5; half of it after a 4."""
    unfollow_probability: float = number(0.0, 0.0, 1.0)
    """Change: probability of unfollowing an item's creator after a rating of 1; half of it after a 2."""
    mood_change: float = number(0.0, 0.0, 1.0)
    """Change: probability per step of drawing a new mood, uniformly."""
    mood_delay: int = count(5, 0, 10_000)
    """Change: steps until a mood becomes visible in the observation."""
    initial_trust: float = number(1.0, 0.0, 1.0)
    """Change: trust of a new user."""
    trust_gain: float = number(0.05, 0.0, 1.0)
    """Change: trust gained per rating point above expectation."""
    trust_loss: float = number(0.1, 0.0, 1.0)
    """Change: trust lost per rating point below expectation."""
    trust_no_purchase: float = number(0.0, 0.0, 1.0)
    """Change: trust lost when a click in a shop leads to no purchase."""
    patience_gain: float = number(0.3, 0.0, 1e3)
    """Change: patience gained (lost) per rating point above (below) 3."""
    patience_skip: float = number(0.3, 0.0, 1e3)
    """Change: patience lost when the user chooses nothing."""
    patience_limit: float = number(8.0, 0.01, 1e6)
    """Change: upper bound of patience."""

    def __post_init__(self) -> None:
        super().__post_init__()
        levels, cuts = _as_tuple(self.rating_levels), _as_tuple(self.rating_cuts)
        if not 2 <= len(levels) <= MAX_RATING_LEVELS or not _ascend((0.0, *levels, math.nextafter(5.0, 6.0))):
            raise ValueError(
                f"BehaviourConfig.rating_levels={self.rating_levels!r}: must be a tuple of 2 to {MAX_RATING_LEVELS} "
                "ascending numbers above 0 and up to 5"
            )
        if len(cuts) != len(levels) - 1 or not _ascend((-math.inf, *cuts, math.inf)):
            raise ValueError(
                f"BehaviourConfig.rating_cuts={self.rating_cuts!r}: must be a tuple of {len(levels) - 1} finite "
                "ascending numbers"
            )
        object.__setattr__(self, "rating_levels", levels)
        object.__setattr__(self, "rating_cuts", cuts)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """A tuple or list (from JSON) of numbers; empty for anything else."""
    is_numbers = isinstance(value, tuple | list) and all(
        isinstance(each, int | float | np.integer | np.floating) for each in value
    )
    return tuple(value) if is_numbers else ()


def _ascend(numbers: tuple[float, ...]) -> bool:
    return all(a < b for a, b in itertools.pairwise(numbers))


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Checked):
    """Weights of the reward's terms; `rating`, `click`, `consumption` and `purchase` are means over the slots."""

    rating: float = number(1.0, -1e3, 1e3)
    """Weight of the rating, up to 5 for a consumed (in a shop: purchased) item, minus `neutral_rating`; 0 for any
    other slot."""
    neutral_rating: float = number(0.0, 0.0, 5.0)
    """Rating that neither pays nor costs; lower ratings have negative rewards."""
    click: float = number(0.0, -1e3, 1e3)
    """Weight of clicks, 0 or 1."""
    consumption: float = number(0.0, -1e3, 1e3)
    """Weight of the consumed fraction, 0 to 1."""
    purchase: float = number(0.0, -1e3, 1e3)
    """Weight of purchases, 0 or 1."""
    retention: float = number(0.0, -1e3, 1e3)
    """Weight of retention, 1 for each step after which the user stays."""
    visit: float = number(0.0, -1e3, 1e3)
    """Weight of return visits, 1 for each step after which a visit ends and the user returns for another one."""
    active_day: float = number(0.0, -1e3, 1e3)
    """Weight of active days, 1 for each return visit on a day without a visit so far."""


@dataclass(frozen=True, kw_only=True)
class LifetimeConfig(Checked):
    """Users who come back: visits, absences and churn, in episodes of several visits.

    The time to return is exponential, with a hazard rate that depends on the user (Kapoor et al., "A hazard based
    approach to user return time prediction", KDD 2014).
    """

    num_days: int = count(0, 0, 100_000)
    """Days of an episode, after which it is truncated; 0 makes an episode a single visit."""
    day_length: int = count(20, 1, 1_000_000)
    """Steps of the platform's time in a day."""
    visit_length: int = count(10, 1, MAX_SESSION_LENGTH)
    """Steps after which a visit ends; it ends earlier when patience is exhausted."""
    churn_days: float = number(14.0, 0.01, 1e5)
    """Days of absence after which a user has churned: the episode is terminated."""
    return_rate: float = number(1.0, 1e-6, 1e6)
    """Return: hazard rate of returning, per day of absence, of a user with satisfaction and habit of 0."""
    return_satisfaction: float = number(2.0, 0.0, 50.0)
    """Return: increase of the logarithm of the hazard rate per unit of satisfaction."""
    return_habit: float = number(1.0, 0.0, 50.0)
    """Return: increase of the logarithm of the hazard rate per unit of habit."""
    satisfaction_rate: float = number(0.1, 0.0, 1.0)
    """Change: weight of a step in satisfaction, a moving average of (rating - 3) / 2."""
    satisfaction_skip: float = number(-0.2, -1.0, 1.0)
    """Change: what a step without a consumed item adds to that average, in place of (rating - 3) / 2."""
    habit_gain: float = number(0.1, 0.0, 1.0)
    """Change: share of the distance to 1 that habit gains in each visit."""
    habit_decay: float = number(0.1, 0.0, 50.0)
    """Change: decay rate of habit per day of absence."""
    trust_recovery: float = number(0.05, 0.0, 50.0)
    """Change: rate per day of absence at which lost trust recovers."""
    interest_drift: float = number(0.05, 0.0, 10.0)
    """Change: standard deviation of the drift of each interest in a day of absence (a random walk)."""


@dataclass(frozen=True, kw_only=True)
class SessionConfig(Checked):
    """Sizes of a session, a slate and an observation, the order of candidates, and the scale of rewards."""

    _error_prefix = ""  # the fields are arguments of `gymnasium.make`, too

    session_length: int = count(50, 2, MAX_SESSION_LENGTH)
    """Steps after which a session is truncated."""
    num_candidates: int = count(20, 2, 1_000_000)
    """Number of candidates M in a step."""
    slate_size: int = count(1, 1, MAX_SLATE_SIZE)
    """Number of slots S in a slate."""
    history_length: int = count(20, 1, 100_000)
    """Number of recently shown items H in an observation."""
    candidates: str = choice("random", *CANDIDATE_SOURCES)
    """Retrieval of the candidates: `random` available items; for each candidate the best of up to four random items, by
    their mean answer over all users (`popular`) or by their similarity to items that this user has liked (`similar`);
    or the three in turn (`mixed`)."""
    candidate_order: str = choice("relevance", *CANDIDATE_ORDERS)
    """Order of the candidates: by this user's predicted answer (`relevance`), by the item's mean answer over all users
    (`popularity`), by category and then relevance (`category`), or `random`, where positions have no meaning."""
    reward_scale: float = number(1.0, 1e-6, 1e6)
    """Factor of rewards, so that returns are of order 10, as default settings of libraries expect; `info` holds the
    terms of the reward without it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slate_size > self.num_candidates:
            raise ValueError(f"slate_size={self.slate_size}: must be at most num_candidates={self.num_candidates}")


@dataclass(frozen=True, kw_only=True)
class Scenario(Checked):
    """A preset of the simulator: the source of items and users, and every coefficient.

    `recsim_env.SCENARIOS` has the seven presets; `override` derives a variant:
    `SCENARIOS["Video"].override({"population": {"warm_share": 0.5}})`.
    """

    name: str
    """Name in the id of the env: `recsim_env/<name>-v0`."""
    source: str = choice("synthetic", "synthetic", "ratings_log", "statistics", "replay", "items")
    """`synthetic`, `ratings_log` (fitted to a log), `statistics` (drawn from the statistics of a fitted log), `replay`
    (the people of a log themselves, who answer with their real ratings) or `items` (a table of items, without users to
    simulate)."""
    metric: str = choice("rating", "rating", "click", "consumption", "purchase", "retention", "visit", "active_day")
    """The metric of the industry: a term of the reward, whose sum over a session is reported beside the return."""
    catalog: CatalogConfig = CatalogConfig()
    population: PopulationConfig = PopulationConfig()
    behaviour: BehaviourConfig = BehaviourConfig()
    reward: RewardConfig = RewardConfig()
    lifetime: LifetimeConfig = LifetimeConfig()
    session: SessionConfig = SessionConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in SECTIONS.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"Scenario.{name}={getattr(self, name)!r}: must be a {kind.__name__}")

    def override(self, overrides: Mapping[str, Mapping[str, Any]]) -> "Scenario":
        """A copy with other values of some fields, such as `{"population": {"warm_share": 0.5}}`.

        Raises:
            ValueError: an unknown section or field, or a value out of its range.
        """
        sections = {}
        if not isinstance(overrides, Mapping):
            raise ValueError(f"overrides={overrides!r}: must be a dict of sections, such as {{'reward': {{}}}}")
        for name, values in overrides.items():
            if name not in SECTIONS:
                raise ValueError(f"overrides[{name!r}]: {unknown_name(name, SECTIONS)}")
            if not isinstance(values, Mapping):
                raise ValueError(f"overrides[{name!r}]={values!r}: must be a dict of field names and values")
            sections[name] = replace_fields(f"overrides[{name!r}]", getattr(self, name), values)
        return dataclasses.replace(self, **sections)


SECTIONS: dict[str, type] = {
    spec.name: type(spec.default) for spec in dataclasses.fields(Scenario) if isinstance(spec.default, Checked)
}
"""Sections of a scenario."""
