"""A world: one catalogue and one population, drawn from a scenario.

Shape legend: I items, N users, K topics, F content features, A refreshes, P profile features.
"""

import os
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from recsim_env.atomic_file import printable
from recsim_env.config import Scenario, check_number, unknown_name
from recsim_env.logs import (
    NO_DISTINGUISHING_FEATURES,
    WHERE_TO_GET_DATA,
    existing_log,
    find_log,
    fingerprint,
    load_or_fit,
)
from recsim_env.logs.fitting.population_statistics import draw_items, draw_users, load_statistics
from recsim_env.scenarios import REPLAY
from recsim_env.simulation.custom_user_model import DEFAULT_USER_MODEL, UserModel
from recsim_env.simulation.records import NUM_FACTOR_REFRESHES, NUM_REFRESHES, WorldSizes, make_parameters
from recsim_env.simulation.replay_simulator import RealRatings
from recsim_env.world.answer_factors import answer_factors, mean_answers
from recsim_env.world.catalog import Items, draw_synthetic_items, item_records, items_from_log
from recsim_env.world.item_statistics import background_statistics, population_response
from recsim_env.world.item_table import read_item_table, unknown_users
from recsim_env.world.population import Users, draw_moods, draw_synthetic_users, user_records, users_from_log
from recsim_env.world.replayed_log import AGE, ReplayedLog, read_replayed_log
from recsim_env.world.splits import SPLITS, split_indices

_USERS, _ITEMS, _RELEASES, _STATISTICS, _CONTENT, _SPLIT = range(6)  # keys of generators
_CLUSTERS, _MOODS, _CREATORS = range(6, 9)  # of the structure
_PERSONS = 9


@dataclass(frozen=True)
class WorldSource:
    """A ratings log or a fitted world with its content at one time; rewritten under its name it is another source."""

    path: str
    """Absolute, so that a change of folder makes no difference."""
    fingerprint: str
    """See `logs.fingerprint`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Items and users of an environment; constant while sessions run."""

    scenario: Scenario
    items: Items
    users: Users
    sizes: WorldSizes
    item_records: np.ndarray
    """[I] records, latent: see `records.ITEM`."""
    item_statistics: np.ndarray
    """[A, I, 4] float32: see `item_statistics.background_statistics`."""
    user_records: np.ndarray
    """[N] records, latent: see `records.USER`."""
    answer_variance: float
    """Variance of an answer around mu + phi . theta, for exact mu and phi; see `relevance`."""
    moods: np.ndarray
    """[Q, K] float64, latent: added by each mood to the affinity with each topic."""
    user_model: UserModel = DEFAULT_USER_MODEL
    """Replaces functions of the user model."""
    source: WorldSource | None = None
    """Where its items and users come from, if that is a ratings log."""
    log_digest: str = ""
    """`FittedWorld.digest` of that log; empty without one."""
    real_ratings: RealRatings | None = None
    """Of the users, where real people are replayed."""
    drawn_by: tuple[Any, ...] | None = field(default=None, init=False)
    """Arguments of `_draw_world`, by which a pickle draws it again; None for a world made in another way."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "World":
        """Itself, as it is constant."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.drawn_by is None:
            raise TypeError("World: only worlds of build_world can be pickled")
        return _draw_world, self.drawn_by

    def parameters(self, session_length: int) -> np.ndarray:
        """[1] record of the coefficients, for sessions of that length; see `records.make_parameters`."""
        first_start, num_starts = self.session_starts(session_length)
        frame = {"session_length": session_length, "first_start": first_start, "num_starts": num_starts}
        parameters = make_parameters(self.scenario, self.moods, **frame)
        parameters["answer_variance"] = self.answer_variance
        return parameters

    def session_starts(self, session_length: int) -> tuple[int, int]:
        """The first platform time at which a session may start, and the number of such times.

        Sessions start after the first items retire or half of the items are released, whichever comes first, and
        early enough that items arrive until the end of the session, or of the days of a lifetime. Where real people are
        replayed, and in a table of items, all sessions start at the same time.
        """
        if self.scenario.source in ("replay", "items"):
            return AGE, 1
        lifetime = self.scenario.lifetime
        if lifetime.num_days > 0:
            session_length = lifetime.num_days * lifetime.day_length
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
    world_path: str | Path | None = None,
    user_model: UserModel = DEFAULT_USER_MODEL,
    user_split: str | None = None,
    world_seed: int = 0,
    structure_split: str = "all",
) -> World:
    """Draw the world of a scenario; the same arguments, and the same content of the log, give the same world.

    `world_seed` draws the structure: clusters of users, directions of profiles, moods and creators; `structure_split`
    selects the part of the structures, so that structures can be held out. Both are for synthetic worlds.
    `catalog_seed` draws items and users of that structure (of a fitted log, whose items and users are given: release
    times and item statistics). `split` selects the part of items and users; `user_split`, if given, another part for
    users, such as the users of `train` with the items of `test`. `world_path` is for scenarios with
    `source="ratings_log"`: a fitted world (.npz), a MovieLens-100K folder or a CSV; for `source="replay"`, which needs
    the log itself; and for `source="items"`, the table.

    Raises:
        ValueError: an unknown split, a negative seed, a user model of another type, or a `world_path` for a scenario
            without a log.
        FileNotFoundError: no ratings log is found; the message says where to download one.
    """
    splits = {"split": split, "user_split": split if user_split is None else user_split}
    for name, value in {**splits, "structure_split": structure_split}.items():
        if not isinstance(value, str) or value not in SPLITS:
            raise ValueError(f"{name}={value!r}: {unknown_name(value, SPLITS)}")
    if not isinstance(user_model, UserModel):
        raise ValueError(f"user_model={user_model!r}: must be a recsim_env.UserModel")
    check_number("catalog_seed", catalog_seed, 0, 2**63 - 1, int)
    check_number("world_seed", world_seed, 0, 2**63 - 1, int)
    if scenario.source != "synthetic" and (world_seed, structure_split) != (0, "all"):
        raise ValueError(
            f"world_seed={world_seed}, structure_split={structure_split!r}: must be 0 and 'all' in {scenario.name}, "
            "whose structure comes from a ratings log"
        )
    if scenario.source == "replay":
        _check_replay(scenario, split, user_split, user_model)
    if scenario.source == "items" and (split, user_split) != ("all", None):
        raise ValueError(f"split={split!r}: must be 'all' in {scenario.name}, whose table is not divided")
    source = _source(scenario, world_path)
    seeds, splits_of_both = (world_seed, catalog_seed), (split, user_split or split, structure_split)
    world = _draw_world(scenario, seeds, splits_of_both, source, user_model)
    if source is not None and scenario.source != "items" and not np.ptp(world.items.features, axis=0).any():
        warnings.warn(f"{source.path}: {NO_DISTINGUISHING_FEATURES}", UserWarning, stacklevel=2)
    return world


def _source(scenario: Scenario, path: str | Path | None) -> WorldSource | None:
    if not isinstance(path, str | Path | None):
        raise ValueError(f"world={path!r}: must be the path of a fitted world (.npz) or of a ratings log")
    if scenario.source not in ("ratings_log", "replay", "items"):
        if path is not None:
            raise ValueError(f"world={str(path)!r}: {scenario.name} does not use a ratings log; omit it")
        return None
    if scenario.source == "items":
        if path is None or not Path(path).is_file():
            given = "" if path is None else f"{printable(path)}: no such file; "
            raise FileNotFoundError(f"{given}{scenario.name} needs world=: a table of items with a column of ids")
        return WorldSource(os.path.abspath(path), fingerprint(Path(path)))
    log = find_log() if path is None else existing_log(path)
    if log is None:
        raise FileNotFoundError(f"{scenario.name} needs a ratings log: {WHERE_TO_GET_DATA}")
    return WorldSource(os.path.abspath(log), fingerprint(log))


@lru_cache(maxsize=16)
def _draw_world(
    scenario: Scenario,
    seeds: tuple[int, int],
    splits: tuple[str, str, str],
    source: WorldSource | None,
    user_model: UserModel,
) -> World:
    drawn_by = scenario, seeds, splits, source, user_model
    catalog, (split, user_split, _) = scenario.catalog, splits
    part, user_part, structure_part = (SPLITS.index(each) for each in splits)
    structure = structure_part, seeds[0]

    def structure_of(purpose: int) -> np.random.Generator:
        return _generator(scenario, purpose, *structure)

    def generator_of(purpose: int, part: int = part) -> np.random.Generator:
        return _generator(scenario, purpose, *structure, part, seeds[1])

    item_generator, user_generator = generator_of(_ITEMS), generator_of(_USERS, user_part)
    log_digest, real_ratings, replayed, table = "", None, None, None
    if scenario.source == "replay":
        assert source is not None
        replayed = _replayed(scenario, source, split)
        items, users, real_ratings = replayed.items, replayed.users, replayed.ratings
    elif scenario.source == "items":
        assert source is not None
        table = read_item_table(source.path)
        items, users = table.items, unknown_users(scenario.population)
        catalog = replace(catalog, num_creators=table.num_creators)
        scenario = replace(scenario, catalog=catalog, behaviour=replace(scenario.behaviour, is_shop=table.has_prices))
    elif source is not None:
        fitted = load_or_fit(source.path)
        log_digest = fitted.digest
        if fingerprint(Path(source.path)) != source.fingerprint:
            raise ValueError(f"world={source.path!r}: its content has changed; make a new env")
        chosen_items = split_indices(len(fitted.quality), split, _generator(scenario, _SPLIT, 0))
        items = items_from_log(fitted, chosen_items)
        chosen_users = split_indices(len(fitted.rating_bias), user_split, _generator(scenario, _SPLIT, 1))
        users = users_from_log(fitted, chosen_users, scenario.population, user_generator)
        scenario = _with_behaviour(_with_scale(scenario, fitted.rating_levels, fitted.rating_cuts), fitted.behaviour)
    elif scenario.source == "synthetic":
        content_key = int(generator_of(_CONTENT).integers(2**63))
        items = draw_synthetic_items(catalog, structure_of(_CREATORS), item_generator, content_key)
        num_factors = items.factors.shape[1]
        person_generator = np.random.default_rng([_PERSONS, user_part, seeds[1]])  # the same in all scenarios
        users = draw_synthetic_users(
            scenario.population, num_factors, structure_of(_CLUSTERS), user_generator, person_generator
        )
    else:
        statistics = load_statistics()
        num_items, num_users = catalog.num_items, scenario.population.num_users
        items = items_from_log(draw_items(statistics, num_items, item_generator), np.arange(num_items))
        drawn = draw_users(statistics, num_users, user_generator)
        users = users_from_log(drawn, np.arange(num_users), scenario.population, user_generator)
        scenario = _with_scale(scenario, statistics.rating_levels, statistics.rating_cuts)

    sizes = WorldSizes(
        num_factors=items.factors.shape[1],
        num_topics=items.topics.shape[1],
        num_creators=catalog.num_creators,
        num_moods=scenario.population.num_moods,
        num_content_features=items.features.shape[1],
    )
    records = item_records(items, sizes, catalog, generator_of(_RELEASES))
    population = user_records(users, sizes)
    moods = draw_moods(scenario.population, sizes.num_topics, structure_of(_MOODS))
    if replayed is not None:
        item_statistics = np.tile(replayed.item_statistics, (NUM_REFRESHES, 1, 1))
        records["mean_answers"] = np.tile(replayed.mean_answers[:, None], NUM_REFRESHES)
        records["answer_factors"] = np.tile(replayed.answer_factors[:, None], (1, NUM_FACTOR_REFRESHES, 1))
        answer_variance = replayed.answer_variance
    elif table is not None:
        records["release_step"] = np.where(table.is_new, AGE, 0)
        item_statistics = np.tile(table.item_statistics, (NUM_REFRESHES, 1, 1))
        item_statistics[0] = 0.0
        records["mean_answers"] = mean_answers(item_statistics, 1.0, items.features)
        answer_variance = 1.0
    else:
        statistics_generator = generator_of(_STATISTICS)
        parameters = make_parameters(scenario, moods, session_length=2, first_start=0, num_starts=1)
        rating_probability = scenario.behaviour.rating_probability
        responses, answers, answer_variance = population_response(
            records, population, sizes, parameters, statistics_generator, user_model
        )
        item_statistics = background_statistics(responses, catalog, rating_probability, statistics_generator)
        records["mean_answers"] = mean_answers(item_statistics, float((responses[:, 3] ** 2).mean()), items.features)
        records["answer_factors"], answer_variance = answer_factors(
            answers, answer_variance, item_statistics, items.features, statistics_generator
        )
    world = World(
        scenario=scenario,
        items=items,
        users=users,
        sizes=sizes,
        item_records=records,
        item_statistics=item_statistics,
        user_records=population,
        answer_variance=answer_variance,
        moods=moods,
        user_model=user_model,
        source=source,
        log_digest=log_digest,
        real_ratings=real_ratings,
    )
    object.__setattr__(world, "drawn_by", drawn_by)
    return world


def _check_replay(scenario: Scenario, split: str, user_split: str | None, user_model: UserModel) -> None:
    """`ValueError` for arguments that a replay of real people does not have."""
    if split == "all":
        raise ValueError(
            f"split='all': must be one of {', '.join(SPLITS[1:])} in {scenario.name}, whose item statistics come from "
            "people who are not replayed"
        )
    if user_split is not None:
        raise ValueError(f"user_split={user_split!r}: must be None in {scenario.name}; split selects the people")
    if user_model is not DEFAULT_USER_MODEL:
        raise ValueError(f"user_model={user_model!r}: must not be given in {scenario.name}; real people answer")
    for name in ("catalog", "population", "behaviour", "lifetime"):
        if getattr(scenario, name) != getattr(REPLAY, name):
            raise ValueError(f"overrides[{name!r}]: must not be given in {scenario.name}; real people answer")


def _replayed(scenario: Scenario, source: WorldSource, split: str) -> ReplayedLog:
    """The part `split` of the log, read again if its content has changed."""
    replayed = read_replayed_log(source.path, split, scenario.population)
    if fingerprint(Path(source.path)) != source.fingerprint:
        raise ValueError(f"world={source.path!r}: its content has changed; make a new env")
    return replayed


def _with_behaviour(scenario: Scenario, fitted: Mapping[str, Mapping[str, float]]) -> Scenario:
    """The scenario with coefficients of a fitted world; returns to the platform are for lifetimes alone."""
    is_lifetime = scenario.lifetime.num_days > 0
    return scenario.override({name: fields for name, fields in fitted.items() if is_lifetime or name != "lifetime"})


def _with_scale(scenario: Scenario, levels: np.ndarray, cuts: np.ndarray) -> Scenario:
    """The scenario with a fitted rating scale."""
    behaviour = replace(scenario.behaviour, rating_levels=tuple(levels.tolist()), rating_cuts=tuple(cuts.tolist()))
    return replace(scenario, behaviour=behaviour)
