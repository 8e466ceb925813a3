"""Every number of a scenario: frozen keyword-only dataclasses that check themselves when they are made.

A field states its range in its own definition (`number(...)`, `count(...)`), so that the check, the error
message and the documentation cannot drift apart.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_SLATE_SIZE = 10
MAX_SESSION_LENGTH = 100_000


def number(default: float, low: float, high: float) -> Any:
    """A real-valued field in the closed range [low, high]."""
    return field(default=default, metadata={"low": low, "high": high, "kind": float})


def count(default: int, low: int, high: int) -> Any:
    """A whole-number field in the closed range [low, high]."""
    return field(default=default, metadata={"low": low, "high": high, "kind": int})


def flag(default: bool) -> Any:
    """A yes-or-no field."""
    return field(default=default, metadata={"kind": bool})


def check_number(name: str, value: Any, low: float, high: float, kind: type = float) -> None:
    """Raise `ValueError` naming `name`, `value` and the allowed range unless low <= value <= high."""
    noun = "a whole number" if kind is int else "a number"
    types = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
    if not isinstance(value, types) or isinstance(value, bool) or not low <= value <= high:  # NaN is not in it either
        raise ValueError(f"{name}={value!r}: must be {noun} in [{low}, {high}]")


class Checked:
    """Base of the configs: checks each field against the range in its definition."""

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):  # type: ignore[arg-type]
            name, value, limits = f"{type(self).__name__}.{each.name}", getattr(self, each.name), each.metadata
            if limits.get("kind") is bool and not isinstance(value, bool):
                raise ValueError(f"{name}={value!r}: must be True or False")
            if "low" in limits:
                check_number(name, value, limits["low"], limits["high"], limits["kind"])


@dataclass(frozen=True, kw_only=True)
class CatalogConfig(Checked):
    """How the items of a catalogue are drawn, arrive and retire."""

    num_items: int = count(2_000, 2, 50_000_000)
    """Persistent items of one catalogue, over its whole life."""
    num_topics: int = count(8, 2, 256)
    """Topics K; a synthetic item is a mixture of them."""
    topic_concentration: float = number(0.25, 0.01, 100.0)
    """Dirichlet concentration of an item's topics: small is one topic an item, large is all of them."""
    quality_sd: float = number(1.0, 0.0, 10.0)
    """Standard deviation of quality, in units of rating noise."""
    appeal_sd: float = number(1.0, 0.0, 10.0)
    """Standard deviation of appeal, in logits of the choice."""
    appeal_quality_correlation: float = number(0.0, -1.0, 1.0)
    """Correlation of appeal and quality; negative means that clickbait is common."""
    feature_noise: float = number(0.1, 0.0, 10.0)
    """Standard deviation of the noise on each content feature."""
    quality_cue: float = number(0.5, 0.0, 10.0)
    """How strongly quality shows in the content features, relative to `cue_noise`."""
    appeal_cue: float = number(1.0, 0.0, 10.0)
    """How strongly appeal shows in the content features, relative to `cue_noise`."""
    cue_noise: float = number(0.5, 0.0, 10.0)
    """Standard deviation of the noise on the quality and appeal features, before they are squashed."""
    arrivals_per_step: float = number(1.0, 0.0, 1e6)
    """Mean number of items released in a step (Poisson process); 0 is a catalogue that never changes."""
    item_lifetime: int = count(800, 1, 10**9)
    """Steps from an item's release to its retirement."""
    impressions_per_step: float = number(0.5, 0.0, 1e6)
    """Background traffic: mean number of times in a step that the rest of the platform is shown an item."""
    new_item_share: float = number(0.0, 0.0, 1.0)
    """Share of the candidates that are drawn among new items; 0 draws all of them from the whole shelf."""
    new_item_age: int = count(20, 1, 10**9)
    """Steps after its release for which an item is called new."""
    repeat_share: float = number(0.0, 0.0, 1.0)
    """Share of the candidates that are drawn among what the user has consumed of late, if there is enough of it."""
    num_creators: int = count(1, 1, 4_096)
    """Creators, whom users can follow; each item has one."""
    creator_share: float = number(0.0, 0.0, 1.0)
    """Share of an item's topics, and of the variance of its quality, that it has from its creator."""
    price_mean: float = number(0.0, 0.0, 1e6)
    """Mean price of an item; 0 where nothing is for sale."""
    price_sd: float = number(0.5, 0.0, 3.0)
    """Standard deviation of the logarithm of the price."""
    has_audio: bool = flag(False)
    """Whether items can be heard."""


@dataclass(frozen=True, kw_only=True)
class PopulationConfig(Checked):
    """How users are drawn: taste clusters, and how they differ within one."""

    num_users: int = count(20_000, 1, 10_000_000)
    """People in one population; a session is a visit of one of them."""
    num_clusters: int = count(8, 1, 1_000)
    """Taste clusters."""
    cluster_scale: float = number(1.0, 0.0, 10.0)
    """Standard deviation of the clusters' mean interests."""
    interest_sd: float = number(0.6, 0.0, 10.0)
    """Standard deviation of interests within a cluster."""
    rating_bias_sd: float = number(0.4, 0.0, 10.0)
    """Standard deviation of a user's leniency, in units of rating noise."""
    rating_scale_sd: float = number(0.2, 0.0, 2.0)
    """Standard deviation of the logarithm of a user's rating scale."""
    patience_mean: float = number(5.0, 0.01, 1e6)
    """Mean patience at the start of a session, in units of patience, before `patience_limit` caps it."""
    patience_sd: float = number(1.0, 0.0, 1e6)
    """Standard deviation of patience at the start of a session; at least 1 unit is kept."""
    receptiveness_mean: float = number(0.05, 0.0, 1.0)
    """Mean share of an item's topics that a fully satisfied user takes over into the interests, before a cap at 1."""
    profile_noise: float = number(1.0, 0.0, 100.0)
    """Standard deviation of the noise on the observable profile, relative to the interests' spread."""
    warm_share: float = number(0.0, 0.0, 1.0)
    """Share of the users who bring a logged history; the others are cold."""
    warm_steps: int = count(20, 1, 10_000)
    """Most steps of a logged history; a warm user has 1 to this many, all equally likely."""
    budget_mean: float = number(0.0, 0.0, 1e6)
    """Mean budget of a session, in units of price."""
    budget_sd: float = number(0.3, 0.0, 3.0)
    """Standard deviation of the logarithm of the budget."""
    num_moods: int = count(1, 1, 64)
    """Moods, of which a user is in one at a time; 1 is none at all."""
    mood_scale: float = number(0.0, 0.0, 10.0)
    """Standard deviation of what a mood adds to the affinity with a topic."""


@dataclass(frozen=True, kw_only=True)
class BehaviourConfig(Checked):
    """How a user examines, chooses, rates, changes and leaves: the coefficients of `user_model`."""

    continue_probability: float = number(0.85, 0.0, 1.0)
    """Examination: chance to look at the next slot after having looked at one."""
    choice_intercept: float = number(0.0, -50.0, 50.0)
    """Choice: utility of an item without affinity, appeal or distrust; not choosing has utility 0."""
    choice_affinity: float = number(1.0, 0.0, 50.0)
    """Choice: logits for one unit of effective affinity."""
    choice_appeal: float = number(1.0, 0.0, 50.0)
    """Choice: logits for one unit of appeal."""
    choice_distrust: float = number(2.0, 0.0, 50.0)
    """Choice: logits lost when trust falls from 1 to 0."""
    choice_freshness: float = number(0.0, 0.0, 50.0)
    """Choice: logits that an item has at its release and loses with age."""
    freshness_half_life: float = number(10.0, 0.1, 1e9)
    """Choice: steps in which freshness falls to a half."""
    choice_follow: float = number(0.0, 0.0, 50.0)
    """Choice: logits that an item gains if the user follows its creator."""
    rating_affinity: float = number(1.0, 0.0, 50.0)
    """Rating: opinion for one unit of effective affinity, in units of rating noise."""
    rating_quality: float = number(1.0, 0.0, 50.0)
    """Rating: opinion for one unit of quality, in units of rating noise."""
    rating_noise: float = number(1.0, 0.01, 50.0)
    """Rating: standard deviation of the noise of an opinion."""
    expectation_appeal: float = number(1.0, 0.0, 50.0)
    """Expectation: opinion that one unit of appeal promises before the item is consumed."""
    rating_cuts: tuple[float, float, float, float] = (-1.5, -0.5, 0.5, 1.5)
    """Rating: the four ascending opinions that divide 1 from 2, 2 from 3, 3 from 4 and 4 from 5."""
    rating_probability: float = number(0.8, 0.0, 1.0)
    """Rating: chance that a consumed item's rating is also submitted, and so is seen in the history."""
    is_shop: bool = flag(False)
    """Purchase: items are for sale; a click is a look at the item, and only what is bought is rated."""
    purchase_intercept: float = number(0.0, -50.0, 50.0)
    """Purchase: logit of buying a free item without affinity and quality, once it is looked at."""
    purchase_affinity: float = number(1.0, 0.0, 50.0)
    """Purchase: logits for one unit of effective affinity."""
    purchase_quality: float = number(1.0, 0.0, 50.0)
    """Purchase: logits for one unit of quality."""
    purchase_price: float = number(1.0, 0.0, 50.0)
    """Purchase: logits lost for one unit of price."""
    consumption_intercept: float = number(0.0, -50.0, 50.0)
    """Consumption: logit of the consumed fraction without affinity and quality."""
    consumption_affinity: float = number(1.0, 0.0, 50.0)
    """Consumption: logits for one unit of effective affinity."""
    consumption_quality: float = number(1.0, 0.0, 50.0)
    """Consumption: logits for one unit of quality."""
    consumption_noise: float = number(0.5, 0.0, 50.0)
    """Consumption: standard deviation of the noise on the logit."""
    interest_limit: float = number(4.0, 0.1, 100.0)
    """Change: no interest moves beyond plus or minus this."""
    satiation_gain: float = number(0.4, 0.0, 10.0)
    """Change: satiation gained by an item's topics when it is wholly consumed."""
    satiation_purchase: float = number(0.0, 0.0, 10.0)
    """Change: satiation gained by an item's topics when it is bought: the need for them is met."""
    satiation_decay: float = number(0.9, 0.0, 0.9999)
    """Change: share of satiation that is left after a step."""
    repeat_gain: float = number(0.0, 0.0, 10.0)
    """Change: affinity gained by an item for each time it is among what the user consumed of late."""
    repeat_boredom: float = number(0.0, 0.0, 10.0)
    """Change: affinity lost for the square of that number, so that a repeat is welcome first and then a bore."""
    follow_probability: float = number(0.0, 0.0, 1.0)
    """Change: chance to follow an item's creator after rating it 5; after a 4 it is half of that."""
    unfollow_probability: float = number(0.0, 0.0, 1.0)
    """Change: chance to unfollow an item's creator after rating it 1; after a 2 it is half of that."""
    mood_change: float = number(0.0, 0.0, 1.0)
    """Change: chance in a step to fall into a mood, any of them."""
    mood_delay: int = count(5, 0, 10_000)
    """Change: steps after which a mood that lasts shows in the observation."""
    trust_gain: float = number(0.05, 0.0, 1.0)
    """Change: trust gained for each star above expectation."""
    trust_loss: float = number(0.1, 0.0, 1.0)
    """Change: trust lost for each star below expectation."""
    patience_gain: float = number(0.3, 0.0, 1e3)
    """Change: patience gained (lost) for each star above (below) 3."""
    patience_skip: float = number(0.3, 0.0, 1e3)
    """Change: patience lost when nothing on the slate is chosen."""
    patience_limit: float = number(8.0, 0.01, 1e6)
    """Change: the most patience that delight can build up."""

    def __post_init__(self) -> None:
        super().__post_init__()
        cuts, number_types = self.rating_cuts, (int, float, np.integer, np.floating)
        is_tuple = isinstance(cuts, tuple) and len(cuts) == 4 and all(isinstance(cut, number_types) for cut in cuts)
        if not is_tuple or not all(a < b for a, b in itertools.pairwise((-math.inf, *cuts, math.inf))):
            raise ValueError(f"BehaviourConfig.rating_cuts={cuts!r}: must be a tuple of 4 finite ascending numbers")


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Checked):
    """Weights of the reward's named terms; each term is the mean over the slate's slots."""

    rating: float = number(1.0, -1e3, 1e3)
    """Weight of the rating: 1 to 5 stars for what was consumed (in a shop: bought), and 0 for what was not."""
    click: float = number(0.0, -1e3, 1e3)
    """Weight of the clicks, 0 or 1."""
    consumption: float = number(0.0, -1e3, 1e3)
    """Weight of the consumed fraction, 0 to 1."""
    purchase: float = number(0.0, -1e3, 1e3)
    """Weight of the purchases, 0 or 1."""
    retention: float = number(0.0, -1e3, 1e3)
    """Weight of staying: 1 for each step after which the user is still there (not a mean over slots)."""


@dataclass(frozen=True, kw_only=True)
class SessionConfig(Checked):
    """The size of a session and of what an agent sees and does in a step."""

    session_length: int = count(50, 2, MAX_SESSION_LENGTH)
    """Steps after which a session is truncated."""
    num_candidates: int = count(20, 2, 1_000_000)
    """Items M among which an agent chooses in a step."""
    slate_size: int = count(1, 1, MAX_SLATE_SIZE)
    """Items S shown in a step."""
    history_length: int = count(20, 1, 100_000)
    """Most recent shown items H that an observation holds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slate_size > self.num_candidates:
            raise ValueError(f"slate_size={self.slate_size}: must be at most num_candidates={self.num_candidates}")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A preset of the one simulator: where its world comes from, and every number in it."""

    name: str
    """Name in the env id: `recsim_env/<name>-v0`."""
    source: str
    """`synthetic`, `ratings_log` (a fitted log) or `statistics` (drawn from a fitted log's statistics)."""
    catalog: CatalogConfig = CatalogConfig()
    population: PopulationConfig = PopulationConfig()
    behaviour: BehaviourConfig = BehaviourConfig()
    reward: RewardConfig = RewardConfig()
    session: SessionConfig = SessionConfig()

    def __post_init__(self) -> None:
        if self.source not in ("synthetic", "ratings_log", "statistics"):
            raise ValueError(f"Scenario.source={self.source!r}: must be 'synthetic', 'ratings_log' or 'statistics'")
        for name in SECTIONS:
            section, kind = getattr(self, name), SECTIONS[name]
            if not isinstance(section, kind):
                raise ValueError(f"Scenario.{name}={section!r}: must be a {kind.__name__}")

    def override(self, overrides: Mapping[str, Mapping[str, Any]]) -> "Scenario":
        """The scenario with other numbers, such as `{"population": {"warm_share": 0.5}}`.

        Raises:
            ValueError: an unknown section or field, or a value out of its range; the message says what is allowed.
        """
        sections = {}
        for name, values in overrides.items():
            if name not in SECTIONS:
                raise ValueError(f"overrides[{name!r}]: unknown; must be one of {', '.join(SECTIONS)}")
            if not isinstance(values, Mapping):
                raise ValueError(f"overrides[{name!r}]={values!r}: must be a dict of field names and values")
            fields = [field.name for field in dataclasses.fields(SECTIONS[name])]
            for field_name in values:
                if field_name not in fields:
                    raise ValueError(
                        f"overrides[{name!r}][{field_name!r}]: unknown; {SECTIONS[name].__name__} has {', '.join(fields)}"
                    )
            sections[name] = dataclasses.replace(getattr(self, name), **values)
        return dataclasses.replace(self, **sections)


SECTIONS: dict[str, type] = {
    "catalog": CatalogConfig,
    "population": PopulationConfig,
    "behaviour": BehaviourConfig,
    "reward": RewardConfig,
    "session": SessionConfig,
}
"""The parts of a scenario."""
