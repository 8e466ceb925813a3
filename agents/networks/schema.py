"""What a model reads of a world: columns by their names, so that worlds with other columns fit, too.

Shape legend: F content features, U numbers of a user, W words of a title.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recsim_env.simulation.observation import CONTEXT
from recsim_env.simulation.simulator import Simulator

_MOOD = "mood "

UNKNOWN_DOMAIN = 0
"""The number of a scenario that a model was not trained on; those that it was trained on count from 1."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns that a model knows, in its own order, and the scenarios that it was trained on."""

    domains: tuple[str, ...]
    """Names of scenarios."""
    content_names: tuple[str, ...]
    """[F] of content features."""
    user_names: tuple[str, ...]
    """[U] of the numbers of a user: profile, context, moods."""
    has_pictures: bool = False
    has_sounds: bool = False
    lowest_return: float = 0.0
    """Bounds of a session's return, in units of reward."""
    highest_return: float = 250.0

    @classmethod
    def of(cls, simulators: Iterable[Simulator], has_pictures: bool = True, has_sounds: bool = True) -> "Schema":
        """All columns of some worlds, in the order in which they first occur."""
        simulators = list(simulators)
        bounds = [return_bounds(simulator) for simulator in simulators]
        items = [simulator.world.items for simulator in simulators]
        return cls(
            domains=_distinct([simulator.world.scenario.name] for simulator in simulators),
            content_names=_distinct(each.feature_names for each in items),
            user_names=_distinct(user_names(simulator) for simulator in simulators),
            has_pictures=has_pictures and any(each.images is not None for each in items),
            has_sounds=has_sounds and any(each.audio is not None for each in items),
            lowest_return=min(low for low, _ in bounds),
            highest_return=max(high for _, high in bounds),
        )

    @property
    def passing_names(self) -> tuple[str, ...]:
        """Of the numbers of a user those that change within a session: how much of it is over, and moods."""
        return tuple(name for name in self.user_names if name == CONTEXT[0] or name.startswith(_MOOD))

    def domain(self, name: str) -> int:
        """The number of a scenario."""
        return self.domains.index(name) + 1 if name in self.domains else UNKNOWN_DOMAIN

    def as_settings(self) -> dict[str, Any]:
        """As JSON can hold it; `Schema.from_settings` brings it back."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Schema":
        """What `as_settings` gave, lists for tuples."""
        own: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in settings.items()}
        return cls(**own)


def _distinct(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))


def user_names(simulator: Simulator) -> tuple[str, ...]:
    """[U] names of the numbers in the part `user` of a world's observations."""
    num_moods = simulator.layout.num_moods
    moods = tuple(f"{_MOOD}{mood}" for mood in range(num_moods)) if num_moods > 1 else ()
    return (*simulator.world.users.profile_names, *CONTEXT, *moods)


def return_bounds(simulator: Simulator) -> tuple[float, float]:
    """The lowest and the highest return that a session can have, from the weights and ranges of the reward's terms."""
    reward = simulator.world.scenario.reward
    most = [5.0 * reward.rating, reward.click, reward.consumption, reward.purchase, reward.retention]
    length = simulator.config.session_length
    low, high = length * sum(min(each, 0.0) for each in most), length * sum(max(each, 0.0) for each in most)
    return (low, high) if high > low else (low, low + 1.0)


def columns(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """For each of the `known` names its column among `names`, or -1."""
    return [list(names).index(name) if name in names else -1 for name in known]


def word_buckets(title: str, num_buckets: int) -> list[int]:
    """[W] numbers from 1 of a title's words: any word has one, some share theirs."""
    words = "".join(letter if letter.isalnum() or letter == "'" else " " for letter in title.lower()).split()
    return [1 + zlib.crc32(word.encode()) % (num_buckets - 1) for word in words]
