"""A catalogue as NumPy arrays: what a model observes of its items, without PyTorch.

Shape legend: I items of a catalogue, i some of them, F content features of the model, D content features as a set, W
words of the longest title, A refreshes of statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agents.networks.schema import MEANINGS, Schema, columns, title_words
from recsim_env.simulation.network_units import in_network_units
from recsim_env.simulation.observation import STATISTICS
from recsim_env.simulation.simulator import Simulator
from recsim_env.world.audio import NUM_BANDS, NUM_FRAMES
from recsim_env.world.catalog import Items
from recsim_env.world.images import SIDE

READER_WORD_BUCKETS = 8_192
"""Word numbers that an `ItemReader` tells apart."""

IMAGE_SHAPE, AUDIO_SHAPE = (3, SIDE, SIDE), (NUM_BANDS, NUM_FRAMES)
"""Of the image and of the log-mel patch of an item."""

NO_CREATOR = -1
"""Creator of items that cannot be followed."""

_LEAST_LENGTH = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class CatalogArrays:
    """What a model with a schema observes of all items of a catalogue, apart from titles, images and audio."""

    features: np.ndarray
    """[I, F] float32; 0 for features that are missing in this catalogue, `schema.READINGS` among them."""
    directions: np.ndarray
    """[I, D] float32: all content features but those with a known meaning (`schema.MEANINGS`), less their means over
    the catalogue, as unit vectors; 0 for an average item."""
    statistics: np.ndarray
    """[A, I, 3] float32: `STATISTICS` at each refresh, `in_network_units`; see `relevance.REFRESH_AT`."""
    release_steps: np.ndarray
    """[I] int64."""
    creators: np.ndarray
    """[I] int64; `NO_CREATOR` for all items unless there are several creators."""
    domain: int
    """Number of the scenario, see `Schema.domain`."""
    has_creators: bool
    """Whether there are several creators."""

    @classmethod
    def of(cls, simulator: Simulator, schema: Schema) -> "CatalogArrays":
        """The catalogue of a simulator's world."""
        world = simulator.world
        names, features = world.items.feature_names, world.items.features
        padded = np.pad(features, ((0, 0), (0, 1)))  # a last column of 0 for missing features
        creators, has_creators = world.item_records["creator"], world.sizes.num_creators > 1
        return cls(
            features=padded[:, columns(names, schema.content_names)],
            directions=_directions(features, names),
            statistics=in_network_units(world.item_statistics[:, :, : len(STATISTICS)]),
            release_steps=world.item_records["release_step"],
            creators=creators if has_creators else np.full_like(creators, NO_CREATOR),
            domain=schema.domain(world.scenario.name),
            has_creators=has_creators,
        )


class ItemMedia(NamedTuple):
    """Titles, images and audio of some items; None for those that are not read, or not in the catalogue."""

    words: np.ndarray | None
    """[i, W] int64: word numbers of the title, padded with 0."""
    images: np.ndarray | None
    """[i, 3, 32, 32] uint8."""
    audio: np.ndarray | None
    """[i, 32, 32] float32."""

    @classmethod
    def of(
        cls,
        items: Items,
        ids: np.ndarray,
        num_word_buckets: int,
        *,
        has_titles: bool = True,
        has_images: bool = True,
        has_audio: bool = True,
    ) -> "ItemMedia":
        """Those of the items `ids` [i] that are asked for; words are hashed to numbers below `num_word_buckets`."""
        return cls(
            words=title_words([items.title(int(item)) for item in ids], num_word_buckets) if has_titles else None,
            images=items.images(ids) if has_images and items.images else None,
            audio=items.audio(ids) if has_audio and items.audio else None,
        )


def _directions(features: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """[I, D] float32: `CatalogArrays.directions` of items with content features [I, F]."""
    is_in_set = [name not in MEANINGS for name in names]
    centred = features[:, is_in_set] - features[:, is_in_set].mean(0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > _LEAST_LENGTH)
