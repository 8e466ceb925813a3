"""The items that a server recommends: their ids, titles and content.

Shape legend: K topics.
"""

import dataclasses
import zlib
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote

import numpy as np

from agents.large_model.serving.item_ids import ItemIds
from agents.large_model.serving.observations import ObservationBuilder
from agents.large_model.serving.requests import Catalog, Item
from recsim_env.world.catalog import Items

_WITHOUT_USERS = ("items", "replay")
"""Sources of worlds without users, or whose users answer to what they were shown alone."""

_NUM_TITLES = 10_000  # in memory: they are made on demand


class ServedCatalog:
    """The catalogue of a simulator; `env_id` and `env_arguments` describe its env."""

    def __init__(self, simulator: Any, env_id: str, env_arguments: Mapping[str, Any]) -> None:
        self.simulator = simulator
        self._env_id, self._env_arguments = env_id, env_arguments
        self.observations = ObservationBuilder(simulator)
        self.ids = ItemIds(simulator.world.items)
        self._items: Items = simulator.world.items
        self.title = lru_cache(_NUM_TITLES)(self._items.title)
        """The title of the item at a position."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def slate_size(self) -> int:
        """Items that are shown at a time by default."""
        return self.simulator.config.slate_size

    @property
    def has_log(self) -> bool:
        """Whether ids are those of a ratings log."""
        return self._items.ids is not None

    @property
    def has_images(self) -> bool:
        """Whether items have images."""
        return self._items.images is not None

    @property
    def has_audio(self) -> bool:
        """Whether items have audio."""
        return self._items.audio is not None

    @property
    def has_users(self) -> bool:
        """Whether the world has users who can be simulated in any session."""
        return self.simulator.world.scenario.source not in _WITHOUT_USERS

    @property
    def about_items(self) -> Catalog:
        """What is recommended, for clients."""
        world = self.simulator.world
        return Catalog(
            env=self._env_id,
            items=len(self),
            topics=list(self._items.topic_names),
            slate_size=self.slate_size,
            is_shop=world.scenario.behaviour.is_shop,
            has_simulated_users=self.has_users,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Of the scenario, and of the ids, content and release of its items."""
        world, items = self.simulator.world, self._items
        parts = [str(items.ids).encode(), items.features.tobytes(), world.item_records["release_step"].tobytes()]
        return f"{world.scenario.name}-{len(items)}-{zlib.crc32(b''.join(parts)):08x}"

    @property
    def about(self) -> dict[str, Any]:
        """The env, and the weights of its reward, for JSON."""
        scenario, config = self.simulator.world.scenario, self.simulator.config
        return {
            "env_id": self._env_id,
            "env_arguments": dict(self._env_arguments),
            "reward": dataclasses.asdict(scenario.reward),
            "reward_scale": config.reward_scale,
        }

    def features(self, position: int) -> dict[str, float]:
        """The observable features of an item by name."""
        names = self._items.feature_names
        return {name: float(value) for name, value in zip(names, self._items.features[position], strict=True)}

    def topics_of(self, positions: np.ndarray) -> np.ndarray:
        """[n, K]: weights of the topics of items [n], as observed."""
        return self._items.observed_topics[positions]

    def by_topic(self, values: np.ndarray) -> dict[str, float]:
        """Values [K] by the name of the topic."""
        return dict(zip(self._items.topic_names, values.tolist(), strict=True))

    def item(self, position: int) -> Item:
        """An item for clients."""
        item, items = self.ids[position], self._items
        topics = {name: weight for name, weight in self.by_topic(items.observed_topics[position]).items() if weight > 0}
        return Item(
            item=item,
            title=self.title(position),
            features=self.features(position),
            topics=topics,
            creator=int(items.creators[position]) if items.creators.any() else None,
            price=float(items.prices[position]) if items.prices[position] > 0.0 else None,
            image=f"/items/{quote(str(item), safe='')}/image.png" if self.has_images else None,
            audio=f"/items/{quote(str(item), safe='')}/audio.wav" if self.has_audio else None,
        )

    def image(self, position: int) -> np.ndarray | None:
        """[3, 32, 32] uint8: the image of an item, if it has one."""
        return None if self._items.images is None else self._items.images(np.array([position]))[0]

    def audio(self, position: int) -> np.ndarray | None:
        """[32, 32] float32 in [0, 1]: the log-mel patch of an item's sound, if it has one."""
        return None if self._items.audio is None else self._items.audio(np.array([position]))[0]
