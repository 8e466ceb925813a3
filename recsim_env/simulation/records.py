"""Records for compiled code: an item, a user, a session, the outcome of a step, the coefficients.

Shape legend: D interest factors, K topics, C creators, Q moods, M candidates, H shown items in the history, L recently
consumed items, X numbers of a custom user model.
"""

import dataclasses
from dataclasses import asdict, dataclass

import numpy as np

from recsim_env.config import MAX_RATING_LEVELS, MAX_SLATE_SIZE, BehaviourConfig, LifetimeConfig, RewardConfig, Scenario
from recsim_env.simulation.record_types import RecordKind

NO_ITEM = -1
"""The id of a missing candidate, and of an empty row of the history or of the recently consumed items."""

NUM_REFRESHES = 16
"""Statistics are refreshed when an item is released and at the ages of 1, 2, 4, ... 2**14 steps."""

NUM_TASTES = 4
"""Tastes D by which the platform predicts users' answers, see `relevance`."""

NUM_FACTOR_REFRESHES = 4
"""Items' factors are re-estimated at every fourth refresh: at release and at ages of 8, 128 and 2,048 steps."""

REFRESHES_PER_ESTIMATE = NUM_REFRESHES // NUM_FACTOR_REFRESHES

NUM_RECENT_ITEMS = 16
"""Items L that the user consumed last: repeats are counted among them and drawn from them."""

NUM_CUSTOM = 8
"""Numbers X in a session that are free for a custom user model; see `custom_user_model`."""

HISTORY_FEEDBACK = ("slot", "click", "consumption", "rating", "purchase", "follow")
"""Columns of a row of a session's history: slot from 0; 0 or 1; 0..1; above 0 and up to 5, or 0 if no rating was
submitted; 0 or 1; 1 if the creator was followed, -1 if unfollowed."""


@dataclass(frozen=True, kw_only=True)
class WorldSizes:
    """Sizes of a world, which set the shapes of its records."""

    num_factors: int
    num_topics: int
    num_creators: int
    num_moods: int
    num_content_features: int


OUTCOME = RecordKind(  # of a step
    "outcome",
    [
        ("reward", "f8"),  # weighted sum of the seven terms below, with ratings less the neutral one
        ("rating", "f8"),  # mean over slots, 0 without consumption; 0..5
        ("click", "f8"),  # share of slots clicked; 0..1
        ("consumption", "f8"),  # mean consumed fraction over slots; 0..1
        ("purchase", "f8"),  # share of slots bought; 0..1
        ("retention", "f8"),  # 1 if the user stays after the step
        ("visit", "f8"),  # 1 if a visit ended and the user has returned
        ("active_day", "f8"),  # 1 if that is the first visit of a day
        ("consumed", "f8"),  # share of slots with a rating
        ("terminated", "?"),
        ("truncated", "?"),
    ],
)

REWARD_TERMS = ("rating", "click", "consumption", "purchase", "retention", "visit", "active_day")

ITEM = RecordKind(  # latent: quality, appeal, factors and topics
    "item",
    [
        ("index", "i8"),  # position in the catalogue
        ("quality", "f8"),  # value after consumption
        ("appeal", "f8"),  # attraction before consumption
        ("price", "f8"),
        ("creator", "i8"),
        ("release_step", "i8"),  # platform time; ascending over the catalogue
        ("retire_step", "i8"),  # platform time; ascending too
        ("category", "i8"),  # the largest observed topic
    ],
    [
        ("factors", "f8", ("num_factors",)),  # multiplied by interests
        ("topics", "f8", ("num_topics",)),  # on the simplex; satiate
        ("mean_answers", "f4", (NUM_REFRESHES,)),  # of all users, as known at each refresh; 0..5
        ("answer_factors", "f4", (NUM_FACTOR_REFRESHES, NUM_TASTES)),  # see `relevance`
    ],
    is_read_only=True,
)

OBSERVABLE_ITEM = RecordKind(
    "observable item",
    [("release_step", "i8"), ("creator", "i4")],
    [("content", "f4", ("num_content_features",))],
    is_read_only=True,
)

USER = RecordKind(  # at the start of a session; latent
    "user",
    [
        ("rating_bias", "f8"),
        ("rating_scale", "f8"),
        ("patience", "f8"),
        ("receptiveness", "f8"),
        ("budget", "f8"),
    ],
    [("interests", "f8", ("num_factors",))],
    is_read_only=True,
)

SESSION = RecordKind(  # keys, state of the user, candidates and history
    "session",
    [
        ("episode", "i8"),  # of its seeds, from 0; -1 before the first start
        ("world_key", "u8"),
        ("user_key", "u8"),
        ("noise_key", "u8"),
        ("step", "i8"),  # steps taken
        ("start_step", "i8"),  # platform time at the start of the session
        ("user", "i8"),  # index into the population
        ("tenure", "i8"),  # steps of the user's logged history
        ("trust", "f8"),  # 0..1
        ("patience", "f8"),  # the user leaves at 0
        ("budget", "f8"),  # >= 0
        ("mood", "i8"),
        ("mood_age", "i8"),  # steps since the mood began
        ("seen_mood", "i8"),  # the mood in the observation, late; -1: none yet
        ("rating_bias", "f8"),
        ("rating_scale", "f8"),
        ("receptiveness", "f8"),
        ("num_consumed", "i8"),
        ("first_item", "i8"),  # items [first_item, end_item) are available
        ("first_new_item", "i8"),  # items [first_new_item, end_item) are new
        ("end_item", "i8"),
        ("num_clicks", "i8"),  # of the user so far, logged history included
        ("num_ratings", "i8"),  # submitted
        ("rating_sum", "f8"),
        ("first_time", "i8"),  # platform time of the episode's first step
        ("num_visits", "i8"),  # of the episode so far
        ("visit_start", "i8"),  # step at which the visit began
        ("absence", "f8"),  # days from the last visit to this one; 0 in the first
        ("satisfaction", "f8"),  # -1..1
        ("habit", "f8"),  # 0..1
        ("usual_patience", "f8"),  # at the start of each visit
        ("usual_budget", "f8"),  # at the start of each visit
        ("num_choices", "i8"),  # in this step so far
        ("num_remembered", "i8"),  # entries in use in the table of consumed items
        ("num_shown", "i8"),  # items shown so far; the n-th is in row n % H of `history_items`, `history_feedback`
        ("is_over", "?"),  # nothing can be shown: not started, or ended
    ],
    [
        ("seeds", "u8", (3,)),  # for the world, user and noise keys
        ("interests", "f8", ("num_factors",)),
        ("satiation", "f8", ("num_topics",)),  # >= 0
        ("custom", "f8", (NUM_CUSTOM,)),
        ("choice_weights", "f8", (MAX_SLATE_SIZE,)),  # a buffer
        ("logged_slate", "i8", (1,)),  # a buffer
        ("clicked", "u1", (MAX_SLATE_SIZE,)),  # a buffer: 1 for the slots clicked in this step
        ("slot_feedback", "f8", (MAX_SLATE_SIZE, 4)),  # a buffer
        ("recent_items", "i4", (NUM_RECENT_ITEMS,)),  # consumed last; the n-th is at index n % L
        ("consumed_items", "i4", ("num_entries",)),  # a hash table, see `availability`
        ("consumed_times", "i8", ("num_entries",)),  # platform time of the last consumption
        ("candidates", "i4", ("num_candidates",)),  # item ids, NO_ITEM where missing
        ("relevances", "f8", ("num_candidates",)),  # a buffer
        ("sort_keys", "i8", ("num_candidates",)),  # a buffer
        ("sorted_keys", "i8", ("num_candidates",)),  # a buffer
        ("bucket_ends", "i4", ("num_candidates",)),  # a buffer
        ("tastes", "f8", (NUM_TASTES,)),  # as the platform has estimated them, see `relevance`
        ("taste_covariance", "f8", (NUM_TASTES, NUM_TASTES)),
        ("taste_gain", "f8", (NUM_TASTES,)),  # a buffer
        ("history_items", "i4", ("history_length",)),
        ("history_feedback", "f4", ("history_length", len(HISTORY_FEEDBACK))),
        ("follows", "u1", ("num_creators",)),  # 1 for each creator that the user follows
    ],
)

_FROM_CATALOG = ("new_item_share", "new_item_age", "repeat_share", "repeat_after")
_FROM_POPULATION = ("warm_share", "warm_steps")
_SCALE = ("rating_levels", "rating_cuts")
_FRAME = ("session_length", "first_start", "num_starts")


def make_parameters(scenario: Scenario, moods: np.ndarray, **frame: int) -> np.ndarray:
    """The coefficients as an array of one record, which is how compiled code takes them.

    `BehaviourConfig`, `LifetimeConfig`, `RewardConfig` with the prefix `reward_`, fields of the catalogue and the
    population that sessions use, `moods` [Q, K] (added to the affinity with each topic) and the frame of a session:
    `session_length`, `first_start`, `num_starts`. The simulator sets `max_steps`, `candidate_order` and
    `candidate_source` (their indices) and `catalog_seed`, a part of its world keys.
    """
    values = {name: value for name, value in dataclasses.asdict(scenario.behaviour).items() if name not in _SCALE}
    values |= dataclasses.asdict(scenario.lifetime)
    values |= {f"reward_{name}": value for name, value in dataclasses.asdict(scenario.reward).items()}
    values |= {name: getattr(scenario.catalog, name) for name in _FROM_CATALOG}
    values |= {name: getattr(scenario.population, name) for name in _FROM_POPULATION}
    values |= {name: frame[name] for name in _FRAME}
    parameters = np.zeros(1, PARAMETERS.dtype({"num_moods": moods.shape[0], "num_topics": moods.shape[1]}))
    parameters["moods"], parameters["num_rating_levels"] = moods, len(scenario.behaviour.rating_levels)
    for name in _SCALE:
        numbers = getattr(scenario.behaviour, name)
        parameters[name][0, : len(numbers)] = numbers
    for name, value in values.items():
        parameters[name] = value
    return parameters


def _coefficients() -> list[tuple[str, str]]:
    kinds = {bool: "?", int: "i8", float: "f8"}
    fields = [
        (prefix + each.name, kinds[each.metadata["kind"]])
        for config, prefix in ((BehaviourConfig, ""), (LifetimeConfig, ""), (RewardConfig, "reward_"))
        for each in dataclasses.fields(config)
        if "kind" in each.metadata
    ]
    fields += [("new_item_share", "f8"), ("repeat_share", "f8"), ("warm_share", "f8"), ("answer_variance", "f8")]
    return fields + [
        (name, "i8")
        for name in (
            *("new_item_age", "repeat_after", "warm_steps", *_FRAME),
            *("max_steps", "catalog_seed", "candidate_order", "candidate_source", "num_rating_levels"),
        )
    ]


PARAMETERS = RecordKind(
    "parameters",
    _coefficients(),
    [
        ("rating_levels", "f8", (MAX_RATING_LEVELS,)),  # the first `num_rating_levels`, ascending
        ("rating_cuts", "f8", (MAX_RATING_LEVELS,)),  # one fewer
        ("moods", "f8", ("num_moods", "num_topics")),
    ],
    is_read_only=True,
)

KINDS = (SESSION, ITEM, PARAMETERS, USER, OBSERVABLE_ITEM, OUTCOME)

_start = 0
for _kind in KINDS:
    _kind.make_compilable(_start)
    _start += _kind.layout_length


def dtypes(
    sizes: WorldSizes, num_candidates: int = 1, history_length: int = 1, num_entries: int = 1
) -> dict[RecordKind, np.dtype]:
    """The structured dtype of each kind of record; `num_entries` is a power of two, and 1 remembers nothing."""
    lengths = {"num_candidates": num_candidates, "history_length": history_length, "num_entries": num_entries}
    return {kind: kind.dtype({**asdict(sizes), **lengths}) for kind in KINDS}


def make_layout(
    sizes: WorldSizes, num_candidates: int = 1, history_length: int = 1, num_entries: int = 1
) -> np.ndarray:
    """Offsets and sizes of the arrays in all kinds of records, which compiled code takes as an argument."""
    kinds = dtypes(sizes, num_candidates, history_length, num_entries)
    return np.concatenate([kind.layout(dtype) for kind, dtype in kinds.items()])
