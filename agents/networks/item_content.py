"""A catalogue as tensors on a device: content, and what a candidate is besides it at a point of time.

Shape legend: I items, F content features that the model knows, W words of the longest title, A refreshes, M
candidates, E width of a language model, R rows of a session.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from agents.networks.item_descriptions import descriptions
from agents.networks.schema import UNKNOWN_DOMAIN, Schema, columns, word_buckets
from recsim_env.envs.network_units import in_network_units
from recsim_env.simulation.observation import MAX_AGE, REFRESH_AT, SCALED_AGE

STANDING = ("age", "impressions", "click_rate", "mean_rating")
"""What changes of an item, whoever looks: its scaled age, as in `observation.CANDIDATE_COLUMNS`, and its statistics, as
`in_network_units` has them."""

DYNAMICS = (*STANDING, "plays", "followed")
"""What changes of a candidate: its standing; how often the session has it clicked / 4, at most 1; 1 if the user follows
its creator, by what the session has of it."""

Describe = Callable[[list[str]], torch.Tensor]
"""Texts to [i, E]: what a language model makes of them."""

_MAX_PLAYS = 4.0


@dataclass(frozen=True, eq=False)
class ItemContent:
    """What a model sees of all items of a catalogue."""

    features: torch.Tensor
    """[I, F] float32; 0 for features that the catalogue lacks."""
    words: torch.Tensor
    """[I, W] int64: numbers of the title's words, 0 after the last."""
    pictures: torch.Tensor | None
    """[I, 3, 32, 32] uint8."""
    sounds: torch.Tensor | None
    """[I, 32, 32] float32."""
    statistics: torch.Tensor
    """[A, I, 3] float32: `BehindAdapter.catalog_statistics` `in_network_units`."""
    release_steps: torch.Tensor
    """[I] int64."""
    creators: torch.Tensor
    """[I] int64."""
    domain: int
    """Number of the scenario, see `Schema.domain`."""
    has_creators: bool
    """Whether there are several."""
    descriptions: torch.Tensor | None = None
    """[I, E] float16: items in words, as a language model has them (`LanguageTrunk.describe`)."""

    def __len__(self) -> int:
        return len(self.features)

    def of_unknown_domain(self) -> "ItemContent":
        """The same catalogue, for a model that is not told which scenario it is of."""
        return replace(self, domain=UNKNOWN_DOMAIN)

    @classmethod
    def of(
        cls, env: Any, schema: Schema, num_word_buckets: int, device: torch.device, describe: Describe | None = None
    ) -> "ItemContent":
        """The catalogue behind an env; with `describe`, in words, too."""
        world = env.simulator.world
        features = np.pad(env.catalog_features, ((0, 0), (0, 1)))  # the last column is what -1 takes
        titles = [world.items.title(item) for item in range(len(world.items))]
        buckets = [word_buckets(title, num_word_buckets) for title in titles]
        words = np.zeros((len(titles), max(map(len, buckets))), np.int64)
        for row, title in zip(words, buckets, strict=True):
            row[: len(title)] = title
        everything = np.arange(len(world.items))
        pictures = world.items.images(everything) if schema.has_pictures and world.items.images else None
        sounds = world.items.audio(everything) if schema.has_sounds and world.items.audio else None
        arrays = {
            "features": features[:, columns(world.items.feature_names, schema.content_names)],
            "words": words,
            "pictures": pictures,
            "sounds": sounds,
            "statistics": env.catalog_statistics,
            "release_steps": env.catalog_release_steps,
            "creators": env.catalog_creators,
        }
        tensors: dict[str, Any] = {
            name: None if array is None else torch.tensor(array, device=device) for name, array in arrays.items()
        }
        tensors["statistics"] = in_network_units(tensors["statistics"])
        if describe is not None:
            said = describe(descriptions(titles, world.items.feature_names, env.catalog_features))
            tensors["descriptions"] = said.to(device, torch.float16)
        return cls(
            **tensors,
            domain=schema.domain(world.scenario.name),
            has_creators=world.sizes.num_creators > 1,
        )

    def to(self, device: torch.device) -> "ItemContent":
        """The same on another device."""
        moved: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            moved[each.name] = value.to(device) if isinstance(value, torch.Tensor) else value
        return ItemContent(**moved)

    def standing(self, items: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """[n, k, 4]: `STANDING` of items [n, k] at platform times that go with them, [n, k] or [n, 1]."""
        ages = (times - self.release_steps[items]).clamp(0, MAX_AGE)
        statistics = self.statistics[_on(items.device, "refresh")[ages], items]
        return torch.cat([_on(items.device, "age")[ages][:, :, None], statistics], 2)

    def dynamics(
        self, candidates: torch.Tensor, times: torch.Tensor, rows: torch.Tensor, feedback: torch.Tensor
    ) -> torch.Tensor:
        """[n, M, 6]: `DYNAMICS` of candidates [n, M] at platform times [n], in sessions with rows [n, R] and feedback
        [n, R, T] so far (`reader`); what belongs to missing candidates means nothing."""
        items = candidates.clamp(min=0)
        clicks = feedback[:, None, :, 2]  # [n, 1, R]
        is_same = rows[:, None] == items[:, :, None]  # [n, M, R]
        plays = ((is_same * clicks).sum(2) / _MAX_PLAYS).clamp(max=1.0)
        followed = torch.zeros_like(plays)
        if self.has_creators and rows.shape[1] > 0:
            creators = torch.where(rows >= 0, self.creators[rows.clamp(min=0)], -1)
            is_theirs = creators[:, None] == self.creators[items][:, :, None]
            places = torch.arange(1, rows.shape[1] + 1, device=rows.device)
            said = is_theirs * (feedback[:, :, 6] * places)[:, None]  # [n, M, R]: the later, the further from 0
            followed = (said.amax(2) > -said.amin(2)).to(plays.dtype)  # whichever was said last
        return torch.cat([self.standing(items, times[:, None]), torch.stack([plays, followed], 2)], 2)


_TABLES = {"refresh": REFRESH_AT, "age": SCALED_AGE}
_tables: dict[tuple[torch.device, str], torch.Tensor] = {}


def _on(device: torch.device, name: str) -> torch.Tensor:
    """A table of the observation's, copied to a device once."""
    if (device, name) not in _tables:
        _tables[device, name] = torch.tensor(_TABLES[name], device=device)
    return _tables[device, name]
