"""The records that compiled code works on: an item, a user, a session, the outcome of a step, the coefficients.

Shape legend: D interest factors, K topics, C creators, Q moods, M candidates, H shown items in the history, L items
in the library, X numbers of a user model of one's own.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numba import config as numba_config

from recsim_env.config import MAX_SLATE_SIZE, BehaviourConfig, RewardConfig, Scenario

NO_ITEM = -1
"""The id of a candidate that is missing, and of an empty row of the history or the library."""

NUM_RECENT_ITEMS = 16
"""Items L that a user has consumed of late: what repeats are counted in and drawn from."""

NUM_CUSTOM = 8
"""Numbers X in a session that are free for a user model of one's own; see `user_model`."""

HISTORY_FEEDBACK = ("slot", "click", "consumption", "rating", "purchase", "follow")
"""Columns of a row of a session's history: slot from 0; 0 or 1; 0..1; stars, 0 if none were submitted; 0 or 1;
1 if the creator was followed, -1 if unfollowed."""

outcome_dtype = np.dtype(
    [
        ("reward", "f8"),  # weighted sum of the five terms below
        ("rating", "f8"),  # mean over slots, 0 for what was not consumed; 0..5
        ("click", "f8"),  # share of slots clicked; 0..1
        ("consumption", "f8"),  # mean consumed fraction over slots; 0..1
        ("purchase", "f8"),  # share of slots bought; 0..1
        ("retention", "f8"),  # 1 if the user is still there after the step
        ("terminated", "?"),
        ("truncated", "?"),
    ],
    align=True,
)


@dataclass(frozen=True, kw_only=True)
class WorldSizes:
    """The sizes of a world that shape its records."""

    num_factors: int
    num_topics: int
    num_creators: int
    num_moods: int


def item_dtype(sizes: WorldSizes) -> np.dtype:
    """Record of one item, all of it latent but its index, price, creator and the two steps."""
    return np.dtype(
        [
            ("index", "i8"),  # in the catalogue
            ("factors", "f8", (sizes.num_factors,)),  # what interests multiply
            ("topics", "f8", (sizes.num_topics,)),  # on the simplex; what satiates
            ("quality", "f8"),  # what it is worth after consumption
            ("appeal", "f8"),  # what makes one click
            ("price", "f8"),
            ("creator", "i8"),
            ("release_step", "i8"),  # platform time; ascending over the catalogue
            ("retire_step", "i8"),  # platform time; ascending too
        ],
        align=True,
    )


def user_dtype(sizes: WorldSizes) -> np.dtype:
    """Record of one user as he or she starts a session, all of it latent."""
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
    """Record of one session: its keys, the user's changing state, the candidates and the history."""
    return np.dtype(
        [
            ("world_key", "u8"),
            ("user_key", "u8"),
            ("noise_key", "u8"),
            ("step", "i8"),  # steps taken
            ("start_step", "i8"),  # platform time when the session began
            ("user", "i8"),  # index into the population
            ("tenure", "i8"),  # steps of the logged history that the user brings
            ("interests", "f8", (sizes.num_factors,)),
            ("satiation", "f8", (sizes.num_topics,)),  # >= 0
            ("trust", "f8"),  # 0..1
            ("patience", "f8"),  # the user leaves at 0
            ("budget", "f8"),  # >= 0
            ("mood", "i8"),
            ("mood_age", "i8"),  # steps since the mood came
            ("seen_mood", "i8"),  # the last one that lasted long enough to show; -1: none has yet
            ("rating_bias", "f8"),
            ("rating_scale", "f8"),
            ("receptiveness", "f8"),
            ("follows", "u1", (sizes.num_creators,)),  # 1 for each creator that the user follows
            ("recent_items", "i4", (NUM_RECENT_ITEMS,)),  # what was consumed of late; the n-th item is in place n % L
            ("num_consumed", "i8"),
            ("custom", "f8", (NUM_CUSTOM,)),
            ("scratch", "f8", (MAX_SLATE_SIZE,)),  # choice weights, while a choice is made
            ("first_item", "i8"),  # items [first_item, end_item) are on the shelf
            ("first_new_item", "i8"),  # items [first_new_item, end_item) are new
            ("end_item", "i8"),
            ("candidates", "i4", (num_candidates,)),  # item ids, NO_ITEM where missing
            ("is_over", "?"),  # nothing can be shown any more, or yet
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

    `BehaviourConfig`, `RewardConfig` with the prefix `reward_`, what a session needs to know of the catalogue and the
    population, `moods` [Q, K] (what each mood adds to the affinity with each topic) and the session's frame:
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
    fields: list[tuple] = [("rating_cuts", "f8", (4,)), ("moods", "f8", (num_moods, num_topics))]
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
    """Records whose fields are attributes: compiled code has that on any array, plain Python on a recarray."""
    return array.view(np.recarray) if numba_config.DISABLE_JIT else array
