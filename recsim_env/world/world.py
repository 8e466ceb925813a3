"""A world: one catalogue and one population, drawn from a scenario and ready to be simulated.

Shape legend: I items, N users, K topics, F content features, A refreshes, P profile features.
"""

import dataclasses
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from recsim_env.config import Scenario, check_number
from recsim_env.logs import WHERE_TO_GET_DATA, find_log, load_or_fit
from recsim_env.logs.population_statistics import draw_items, draw_users, load_statistics
from recsim_env.simulation.custom_user_model import DEFAULT_USER_MODEL, UserModel
from recsim_env.simulation.records import WorldSizes, make_parameters
from recsim_env.world.catalog import Items, draw_synthetic_items, item_records
from recsim_env.world.item_statistics import background_statistics, population_response
from recsim_env.world.population import Users, draw_moods, draw_synthetic_users, user_records
from recsim_env.world.rated_world import half, items_of, users_of

SPLITS = ("all", "train", "test")
"""Parts of a world: no item and no user is in both `train` and `test`."""

_STRUCTURE, _USERS, _ITEMS, _RELEASES, _TRAFFIC, _CONTENT, _HALVES, _MOODS = range(8)


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Everything about items and users that does not change while sessions run."""

    scenario: Scenario
    items: Items
    users: Users
    sizes: WorldSizes
    item_records: np.ndarray
    """[I] records, latent: see `records.item_dtype`."""
    item_statistics: np.ndarray
    """[A, I, 4] float32: see `traffic.background_statistics`."""
    user_records: np.ndarray
    """[N] records, latent: see `records.user_dtype`."""
    moods: np.ndarray
    """[Q, K] float64, latent: what each mood adds to the affinity with each topic."""
    user_model: UserModel = DEFAULT_USER_MODEL
    """Functions that take the place of some of the user model's."""

    def parameters(self, session_length: int) -> np.ndarray:
        """[1] record of the coefficients, for sessions of that length; see `records.make_parameters`."""
        first_start, num_starts = self.session_starts(session_length)
        frame = {"session_length": session_length, "first_start": first_start, "num_starts": num_starts}
        return make_parameters(self.scenario, self.moods, **frame)

    def session_starts(self, session_length: int) -> tuple[int, int]:
        """The first platform time at which a session may begin, and the number of such times.

        Sessions begin when the shelf is full or half of the items are released, whichever comes first, and
        early enough for items to go on arriving until the session is over.
        """
        release = self.item_records["release_step"]
        first = min(self.scenario.catalog.item_lifetime, int(release[len(release) // 2]))
        last = max(first, int(release[-1]) - session_length)
        return first, last - first + 1


def _generator(scenario: Scenario, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(scenario.name.encode()), *numbers])


def build_world(
    scenario: Scenario,
    catalog_seed: int = 0,
    split: str = "all",
    world_path: str | None = None,
    user_model: UserModel = DEFAULT_USER_MODEL,
    user_split: str | None = None,
) -> World:
    """Draw the world of a scenario; the same arguments give the same world.

    `catalog_seed` draws the catalogue (for a fitted log, whose items are given: when they arrive and what the
    platform has seen of them). `split` picks the part; `user_split`, if given, another one for users, such as the
    people of `train` with the items of `test`. `world_path` is for scenarios with
    `source="ratings_log"`: a fitted world (.npz), a MovieLens-100K folder or a CSV.

    Raises:
        ValueError: an unknown split, a negative seed, or a `world_path` where there is nothing to load.
        FileNotFoundError: the ratings log is not to be found; the message says where to get it.
    """
    for name, value in (("split", split), ("user_split", split if user_split is None else user_split)):
        if value not in SPLITS:
            raise ValueError(f"{name}={value!r}: must be one of {', '.join(SPLITS)}")
    check_number("catalog_seed", catalog_seed, 0, 2**63 - 1, int)
    if world_path is not None and scenario.source != "ratings_log":
        raise ValueError(f"world={world_path!r}: {scenario.name} is not a world from a log, leave it out")
    if scenario.source == "ratings_log" and world_path is None:
        found = find_log()
        if found is None:
            raise FileNotFoundError(f"{scenario.name} needs a ratings log: {WHERE_TO_GET_DATA}")
        world_path = str(found)
    return _draw_world(scenario, catalog_seed, split, user_split or split, world_path, user_model)


@lru_cache(maxsize=16)
def _draw_world(
    scenario: Scenario, catalog_seed: int, split: str, user_split: str, world_path: str | None, user_model: UserModel
) -> World:
    part, catalog = SPLITS.index(split), scenario.catalog
    item_generator = _generator(scenario, _ITEMS, part, catalog_seed)
    user_generator = _generator(scenario, _USERS, SPLITS.index(user_split))
    if scenario.source == "synthetic":
        content_key = int(_generator(scenario, _CONTENT, part, catalog_seed).integers(2**63))
        items = draw_synthetic_items(catalog, item_generator, content_key)
        structure = _generator(scenario, _STRUCTURE)
        users = draw_synthetic_users(scenario.population, items.factors.shape[1], structure, user_generator)
    elif scenario.source == "statistics":
        statistics = load_statistics()
        num_items, num_users = catalog.num_items, scenario.population.num_users
        items = items_of(draw_items(statistics, num_items, item_generator), np.arange(num_items))
        drawn = draw_users(statistics, num_users, user_generator)
        users = users_of(drawn, np.arange(num_users), scenario.population, user_generator)
        scenario = _with_cuts(scenario, statistics.rating_cuts)
    else:
        fitted = load_or_fit(world_path)
        halves = _generator(scenario, _HALVES)
        items = items_of(fitted, half(len(fitted.quality), split, halves))
        chosen_users = half(len(fitted.rating_bias), user_split, halves)
        users = users_of(fitted, chosen_users, scenario.population, user_generator)
        scenario = _with_cuts(scenario, fitted.rating_cuts)

    sizes = WorldSizes(
        num_factors=items.factors.shape[1],
        num_topics=items.topics.shape[1],
        num_creators=catalog.num_creators,
        num_moods=scenario.population.num_moods,
    )
    records = item_records(items, sizes, catalog, _generator(scenario, _RELEASES, part, catalog_seed))
    people = user_records(users, sizes)
    moods = draw_moods(scenario.population, sizes.num_topics, _generator(scenario, _MOODS))
    traffic = _generator(scenario, _TRAFFIC, part, catalog_seed)
    at_rest = make_parameters(scenario, moods, session_length=2, first_start=0, num_starts=1)
    responses = population_response(records, people, sizes, at_rest, traffic, user_model)
    return World(
        scenario=scenario,
        items=items,
        users=users,
        sizes=sizes,
        item_records=records,
        item_statistics=background_statistics(responses, catalog, scenario.behaviour.rating_probability, traffic),
        user_records=people,
        moods=moods,
        user_model=user_model,
    )


def _with_cuts(scenario: Scenario, cuts: np.ndarray) -> Scenario:
    """The scenario with the rating scale that was fitted."""
    behaviour = dataclasses.replace(scenario.behaviour, rating_cuts=tuple(cuts.tolist()))
    return dataclasses.replace(scenario, behaviour=behaviour)
