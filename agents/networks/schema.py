"""The input columns of a model, by name, so that it can act in scenarios with other columns.

Shape legend: F content features, U user features, W words of a title.
"""

import dataclasses
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from agents.networks.catalog_summary import CATALOG_SUMMARY, catalog_summary
from recsim_env.config import RewardConfig
from recsim_env.simulation.observation import CONTEXT, VISIT_CONTEXT
from recsim_env.simulation.simulator import Simulator

_MOOD = "mood "

MEANINGS = ("quality cue", "appeal cue", "price / (price + mean price)")
"""Content features with the same meaning in all scenarios."""

LATENTS_READ = ("quality", "appeal")
"""Latent attributes of items that an `ItemReader` estimates."""

READING_SOURCES = ("title", "image", "audio")
"""What it reads."""

READINGS = tuple(f"{latent} by {source}" for source in READING_SOURCES for latent in LATENTS_READ)
"""Its estimates from each source, which are content features, too; 0 without the source."""

MAX_MOODS = 8
"""Moods that a generalist tells apart."""

SETTING = (
    *(f"reward: {field.name}" for field in dataclasses.fields(RewardConfig)),
    *("session length", "slate size", "candidates", "is shop", "is lifetime"),
    *CATALOG_SUMMARY,
)
"""Columns of `user` that describe an env, as its operator knows it: the weights of the reward's terms / 4; log2 of the
sizes / 16; whether items are for sale, and users come back; and the catalogue in a few numbers."""

UNKNOWN_DOMAIN = 0
"""The number of a scenario that a model was not trained in; those that it was trained in count from 1."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns that a model reads, in its own order, and the scenarios that it was trained in."""

    domains: tuple[str, ...]
    """Names of scenarios."""
    content_names: tuple[str, ...]
    """[F] of content features."""
    user_names: tuple[str, ...]
    """[U] of user features: profile, context, moods."""
    log_digests: tuple[str, ...] = ()
    """`World.log_digest` of each of them: empty for a scenario without a ratings log."""
    has_titles: bool = True
    has_images: bool = False
    has_audio: bool = False
    lowest_return: float = 0.0
    """Bounds of a session's return, in units of reward."""
    highest_return: float = 250.0

    @classmethod
    def of(cls, simulators: Iterable[Simulator], has_images: bool = True, has_audio: bool = True) -> "Schema":
        """All columns of some worlds, in the order in which they first occur."""
        simulators = list(simulators)
        bounds = [return_bounds(simulator) for simulator in simulators]
        items = [simulator.world.items for simulator in simulators]
        return cls(
            domains=_distinct([simulator.world.scenario.name] for simulator in simulators),
            log_digests=tuple({each.world.scenario.name: each.world.log_digest for each in simulators}.values()),
            content_names=_distinct(each.feature_names for each in items),
            user_names=_distinct(user_names(simulator) for simulator in simulators),
            has_images=has_images and any(each.images is not None for each in items),
            has_audio=has_audio and any(each.audio is not None for each in items),
            lowest_return=min(low for low, _ in bounds),
            highest_return=max(high for _, high in bounds),
        )

    @classmethod
    def generalist(cls) -> "Schema":
        """Of a model for all scenarios: it reads nothing whose meaning depends on the scenario."""
        moods = (f"{_MOOD}{mood}" for mood in range(MAX_MOODS))
        user_names = (*CONTEXT, *VISIT_CONTEXT, *moods, *SETTING)
        return cls(
            domains=(),
            content_names=(*MEANINGS, *READINGS),
            user_names=user_names,
            has_titles=False,
            lowest_return=-1.0,
            highest_return=1.0,
        )

    @property
    def has_readings(self) -> bool:
        """Whether an `ItemReader` reads titles, images and audio."""
        return set(READINGS) <= set(self.content_names)

    @property
    def is_generalist(self) -> bool:
        """Whether the model was trained in sampled scenarios only."""
        return not self.domains

    def extended(self, simulators: Iterable[Simulator]) -> "Schema":
        """The schema of a generalist that is trained further in some worlds: with all of their columns, and their
        bounds of returns."""
        own = Schema.of(simulators, self.has_images, self.has_audio)
        return replace(
            own,
            content_names=_distinct([self.content_names, own.content_names]),
            user_names=_distinct([self.user_names, own.user_names]),
            has_titles=self.has_titles,
            has_images=self.has_images,
            has_audio=self.has_audio,
        )

    @property
    def dynamic_names(self) -> tuple[str, ...]:
        """User features that change within a session: the share of the session that is over, visits, and moods."""
        changing = (CONTEXT[0], *VISIT_CONTEXT)
        return tuple(name for name in self.user_names if name in changing or name.startswith(_MOOD))

    def has_learnt_from(self, simulator: Simulator) -> bool:
        """Whether the world's log is one that the model was trained in; True for a world without a log, and for a
        generalist."""
        return self.is_generalist or not simulator.world.log_digest or simulator.world.log_digest in self.log_digests

    def domain(self, name: str) -> int:
        """The number of a scenario."""
        return self.domains.index(name) + 1 if name in self.domains else UNKNOWN_DOMAIN

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Schema":
        """From the result of `dataclasses.asdict`, with lists or tuples."""
        values: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in settings.items()}
        return cls(**values)


def _distinct(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))


class UserColumns(NamedTuple):
    """How the part `user` of a world's observations becomes the features that a model reads."""

    setting: np.ndarray
    """[S] float32: the values of `SETTING`, which are appended to it."""
    columns: np.ndarray
    """[U] int64: the column of each feature of the model then; -1 for missing ones."""
    elapsed: np.ndarray
    """[1] int64: the column of the share of the session that is over."""

    @classmethod
    def of(cls, simulator: Simulator, schema: Schema) -> "UserColumns":
        names = user_names(simulator)
        return cls(
            setting=np.array(setting_values(simulator), np.float32),
            columns=np.array(columns((*names, *SETTING), schema.user_names), np.int64),
            elapsed=np.array([names.index(CONTEXT[0])], np.int64),
        )


def user_names(simulator: Simulator) -> tuple[str, ...]:
    """[U] names of the features in the part `user` of a world's observations."""
    num_moods = simulator.layout.num_moods
    moods = tuple(f"{_MOOD}{mood}" for mood in range(num_moods)) if num_moods > 1 else ()
    visits = VISIT_CONTEXT if simulator.layout.is_lifetime else ()
    return (*simulator.world.users.profile_names, *CONTEXT, *visits, *moods)


def setting_values(simulator: Simulator) -> list[float]:
    """The values of `SETTING` in a world."""
    scenario, config = simulator.world.scenario, simulator.config
    sizes = (config.session_length, config.slate_size, config.num_candidates)
    return [
        *(weight / 4.0 for weight in dataclasses.astuple(scenario.reward)),
        *(math.log2(size) / 16.0 for size in sizes),
        float(scenario.behaviour.is_shop),
        float(simulator.layout.is_lifetime),
        *catalog_summary(simulator),
    ]


def return_bounds(simulator: Simulator) -> tuple[float, float]:
    """The lowest and the highest possible return of a session, from the weights and ranges of the reward's terms."""
    reward, levels = simulator.world.scenario.reward, simulator.world.scenario.behaviour.rating_levels
    ratings = [reward.rating * (rating - reward.neutral_rating) for rating in (levels[0], levels[-1])]
    terms = [reward.click, reward.consumption, reward.purchase, reward.retention, reward.visit, reward.active_day]
    length = simulator.config.session_length
    low = length * (min(*ratings, 0.0) + sum(min(each, 0.0) for each in terms))
    high = length * (max(*ratings, 0.0) + sum(max(each, 0.0) for each in terms))
    return (low, high) if high > low else (low, low + 1.0)


def columns(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """For each of the `known` names its column among `names`, or -1."""
    return [list(names).index(name) if name in names else -1 for name in known]


def title_words(titles: Sequence[str], num_buckets: int) -> np.ndarray:
    """[I, W] int64: word numbers of titles, padded with 0."""
    buckets = [word_buckets(title, num_buckets) for title in titles]
    words = np.zeros((len(titles), max(map(len, buckets))), np.int64)
    for row, numbers in zip(words, buckets, strict=True):
        row[: len(numbers)] = numbers
    return words


def word_buckets(title: str, num_buckets: int) -> list[int]:
    """[W] numbers from 1 of a title's words, by hashing."""
    words = "".join(letter if letter.isalnum() or letter == "'" else " " for letter in title.lower()).split()
    return [1 + zlib.crc32(word.encode()) % (num_buckets - 1) for word in words]
