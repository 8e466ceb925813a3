"""Records for compiled code: an item, a user, a session, the outcome of a step, the coefficients.

Shape legend: D interest factors, K topics, C creators, Q moods, M candidates, H shown items in the history, L recently
consumed items, X numbers of a custom user model.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import config as numba_config

from recsim_env.config import MAX_SLATE_SIZE, BehaviourConfig, RewardConfig, Scenario

NO_ITEM = -1
"""The id of a missing candidate, and of an empty row of the history or of the recently consumed items."""

NUM_RECENT_ITEMS = 16
"""Items L that the user consumed last: repeats are counted among them and drawn from them."""

NUM_CUSTOM = 8
"""Numbers X in a session that are free for a custom user model; see `custom_user_model`."""

HISTORY_FEEDBACK = ("slot", "click", "consumption", "rating", "purchase", "follow")
"""Columns of a row of a session's history: slot from 0; 0 or 1; 0..1; 1..5, or 0 if no rating was submitted; 0 or 1;
1 if the creator was followed, -1 if unfollowed."""

outcome_dtype = np.dtype(
    [
        ("reward", "f8"),  # weighted sum of the five terms below
        ("rating", "f8"),  # mean over slots, 0 without consumption; 0..5
        ("click", "f8"),  # share of slots clicked; 0..1
        ("consumption", "f8"),  # mean consumed fraction over slots; 0..1
        ("purchase", "f8"),  # share of slots bought; 0..1
        ("retention", "f8"),  # 1 if the user stays after the step
        ("terminated", "?"),
        ("truncated", "?"),
    ],
    align=True,
)


@dataclass(frozen=True, kw_only=True)
class WorldSizes:
    """Sizes of a world, which set the shapes of its records."""

    num_factors: int
    num_topics: int
    num_creators: int
    num_moods: int


def item_dtype(sizes: WorldSizes) -> np.dtype:
    """Record of one item; latent except for index, price, creator, release and retirement."""
    return np.dtype(
        [
            ("index", "i8"),  # position in the catalogue
            ("factors", "f8", (sizes.num_factors,)),  # multiplied by interests
            ("topics", "f8", (sizes.num_topics,)),  # on the simplex; satiate
            ("quality", "f8"),  # value after consumption
            ("appeal", "f8"),  # attraction before consumption
            ("price", "f8"),
            ("creator", "i8"),
            ("release_step", "i8"),  # platform time; ascending over the catalogue
            ("retire_step", "i8"),  # platform time; ascending too
        ],
        align=True,
    )


def user_dtype(sizes: WorldSizes) -> np.dtype:
    """Record of one user at the start of a session; latent."""
    return np.dtype(
        [
            ("interests", "f8", (sizes.num_factors,)),
            ("rating_bias", "f8"),
            ("rating_scale", "f8"),
            ("patience", "f8"),
            ("receptiveness", "f8"),
            ("budget", "f8"),
        ],
        align=True,
    )


def session_dtype(sizes: WorldSizes, num_candidates: int, history_length: int) -> np.dtype:
    """Record of one session: keys, state of the user, candidates and history."""
    return np.dtype(
        [
            ("world_key", "u8"),
            ("user_key", "u8"),
            ("noise_key", "u8"),
            ("step", "i8"),  # steps taken
            ("start_step", "i8"),  # platform time at the start of the session
            ("user", "i8"),  # index into the population
            ("tenure", "i8"),  # steps of the user's logged history
            ("interests", "f8", (sizes.num_factors,)),
            ("satiation", "f8", (sizes.num_topics,)),  # >= 0
            ("trust", "f8"),  # 0..1
            ("patience", "f8"),  # the user leaves at 0
            ("budget", "f8"),  # >= 0
            ("mood", "i8"),
            ("mood_age", "i8"),  # steps since the mood began
            ("seen_mood", "i8"),  # the mood in the observation, late; -1: none yet
            ("rating_bias", "f8"),
            ("rating_scale", "f8"),
            ("receptiveness", "f8"),
            ("follows", "u1", (sizes.num_creators,)),  # 1 for each creator that the user follows
            ("recent_items", "i4", (NUM_RECENT_ITEMS,)),  # consumed last; the n-th is at index n % L
            ("num_consumed", "i8"),
            ("custom", "f8", (NUM_CUSTOM,)),
            ("scratch", "f8", (MAX_SLATE_SIZE,)),  # choice weights, a buffer
            ("first_item", "i8"),  # items [first_item, end_item) are available
            ("first_new_item", "i8"),  # items [first_new_item, end_item) are new
            ("end_item", "i8"),
            ("candidates", "i4", (num_candidates,)),  # item ids, NO_ITEM where missing
            ("is_over", "?"),  # nothing can be shown: not started, or ended
            ("num_shown", "i8"),  # items shown so far; the n-th is in row n % H of the next two
            ("history_items", "i4", (history_length,)),
            ("history_feedback", "f4", (history_length, len(HISTORY_FEEDBACK))),
        ],
        align=True,
    )


_FROM_CATALOG = ("new_item_share", "new_item_age", "repeat_share")
_FROM_POPULATION = ("warm_share", "warm_steps")
_FRAME = ("session_length", "first_start", "num_starts")


def make_parameters(scenario: Scenario, moods: np.ndarray, **frame: int) -> np.ndarray:
    """The coefficients as an array of one record, which is how compiled code takes them.

    `BehaviourConfig`, `RewardConfig` with the prefix `reward_`, fields of the catalogue and the population that
    sessions use, `moods` [Q, K] (added to the affinity with each topic) and the frame of a session:
    `session_length`, `first_start`, `num_starts`.
    """
    values = {name: value for name, value in dataclasses.asdict(scenario.behaviour).items() if name != "rating_cuts"}
    values |= {f"reward_{name}": value for name, value in dataclasses.asdict(scenario.reward).items()}
    values |= {name: getattr(scenario.catalog, name) for name in _FROM_CATALOG}
    values |= {name: getattr(scenario.population, name) for name in _FROM_POPULATION}
    values |= {name: frame[name] for name in _FRAME}
    parameters = np.zeros(1, parameter_dtype(*moods.shape))
    parameters["rating_cuts"], parameters["moods"] = scenario.behaviour.rating_cuts, moods
    for name, value in values.items():
        parameters[name] = value
    return parameters


def parameter_dtype(num_moods: int, num_topics: int) -> np.dtype:
    """Record of the coefficients; see `make_parameters`."""
    kinds = {bool: "?", int: "i8", float: "f8"}
    fields: list[tuple[Any, ...]] = [("rating_cuts", "f8", (4,)), ("moods", "f8", (num_moods, num_topics))]
    for config, prefix in ((BehaviourConfig, ""), (RewardConfig, "reward_")):
        fields += [
            (prefix + each.name, kinds[each.metadata["kind"]])
            for each in dataclasses.fields(config)
            if "kind" in each.metadata
        ]
    fields += [("new_item_share", "f8"), ("repeat_share", "f8"), ("warm_share", "f8")]
    fields += [(name, "i8") for name in ("new_item_age", "warm_steps", *_FRAME)]
    return np.dtype(fields, align=True)


def as_records(array: np.ndarray) -> np.ndarray:
    """Records with fields as attributes: compiled code accepts any structured array, plain Python needs a recarray."""
    return array.view(np.recarray) if numba_config.DISABLE_JIT else array
