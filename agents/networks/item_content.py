"""A catalogue as tensors: item content, and the features of candidates that change over time.

Shape legend: I items, i some of them, F content features of the model, D content features as a set, G readings, W words
of the longest title, A refreshes of statistics, n sessions, k items of each, M candidates, J features of a candidate
that change over time, R rows of a session, T columns of a row, `FEEDBACK` first, E width of a language model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch

from agents.networks.catalog_arrays import NO_CREATOR, CatalogArrays, ItemMedia
from agents.networks.schema import MEANINGS, READINGS, UNKNOWN_DOMAIN, Schema
from recsim_env.simulation.observation import FEEDBACK, RELEVANCE_COLUMNS, SCALED_AGE
from recsim_env.simulation.relevance import MAX_AGE, REFRESH_AT
from recsim_env.world.catalog import Items

ITEM_STATE = ("age", "impressions", "click_rate", "mean_rating")
"""Features of an item that change over time, the same for all users: its scaled age, as in
`observation.CANDIDATE_COLUMNS`, and its statistics, as `in_network_units` scales them."""

SIGNALS = ("consumption", "rating", "skip", "purchase")
"""Feedback to a row of a session: the consumed fraction; its rating above 3, in units of 2 (0 without one); 1 if it was
not clicked; 1 if it was bought."""

MEMORIES = {"session": 1.0, "recent": 0.9}
"""Weight of a row for each row that follows it, by name."""

SIMILARITIES = tuple(f"{signal} {memory}" for memory in MEMORIES for signal in SIGNALS)
"""Sums over a session's rows of each signal, times the cosine similarity of the row's content with the candidate's,
times the row's weight. Similarities do not depend on the names, the order or the number of content features."""

DYNAMICS = (*ITEM_STATE, "plays", "followed", *RELEVANCE_COLUMNS, *SIMILARITIES)
"""Features of a candidate that change over time: `ITEM_STATE`; the session's clicks on it / 4, at most 1; 1 if the user
follows its creator, as far as the session shows; the platform's prediction for this user; and `SIMILARITIES`."""

Describe = Callable[[list[str]], torch.Tensor]
"""Texts to [i, E], by a language model."""

Read = Callable[[Items], np.ndarray]
"""Items to [I, G] float32: `schema.READINGS`."""

NUM_DESCRIBED_FEATURES = 3
"""Features in a description, the strongest first."""

_MAX_PLAYS = 4.0
_CLICK, _CONSUMPTION, _RATING, _PURCHASE, _FOLLOW = (
    FEEDBACK.index(name) for name in ("click", "consumption", "rating", "purchase", "follow")
)
_RELEVANCE_UNITS = (4.0, 2.0, 1.0)  # so that candidates differ by about 1
_SIMILARITY_UNIT = 0.25
_LEAST_DESCRIBED = 0.05  # rounds to 0.1


@dataclass(frozen=True, eq=False)
class ItemContent:
    """What a model observes of all items of a catalogue."""

    features: torch.Tensor
    """[I, F] float32; 0 for features that are missing in this catalogue."""
    directions: torch.Tensor
    """[I, D] float32: `CatalogArrays.directions`."""
    words: torch.Tensor | None
    """[I, W] int64: word numbers of the title, padded with 0."""
    images: torch.Tensor | None
    """[I, 3, 32, 32] uint8."""
    audio: torch.Tensor | None
    """[I, 32, 32] float32."""
    statistics: torch.Tensor
    """[A, I, 3] float32: `STATISTICS` at each refresh, `in_network_units`."""
    release_steps: torch.Tensor
    """[I] int64."""
    creators: torch.Tensor
    """[I] int64; `NO_CREATOR` for items that cannot be followed."""
    domain: int
    """Number of the scenario, see `Schema.domain`."""
    has_creators: bool
    """Whether there are several creators."""
    descriptions: torch.Tensor | None = None
    """[I, E] float16: embedded descriptions (`LanguageBackbone.describe`)."""

    def __len__(self) -> int:
        return len(self.features)

    def with_unknown_domain(self) -> "ItemContent":
        """The same catalogue without the number of its scenario."""
        return replace(self, domain=UNKNOWN_DOMAIN)

    def without(self, names: Sequence[str], hidden: Sequence[str]) -> "ItemContent":
        """The same catalogue with 0 for the features whose names, of `names` [F], end with one of `hidden`."""
        is_hidden = torch.tensor([name.endswith(tuple(hidden)) for name in names], device=self.features.device)
        return replace(self, features=self.features.masked_fill(is_hidden, 0.0))

    def joined_with(
        self,
        other: "ItemContent",
        names: Sequence[str],
        other_names: Sequence[str],
        *,
        similarity: float = 1.0,
        delay: int = 0,
    ) -> "ItemContent":
        """A catalogue with the items of another one after its own, for a generalist that reads histories of both.

        Directions agree where content features have the same name; `names` are those of this catalogue, `other_names`
        those of the other one, whose clock is `delay` steps behind. Cosine similarities of items of both are multiplied
        by `similarity`.
        """
        if self.words is not None or self.images is not None or self.audio is not None or self.descriptions is not None:
            raise ValueError("catalogues can be joined for a generalist only, which reads content features alone")
        own, others = ([name for name in each if name not in MEANINGS] for each in (names, other_names))
        union = list(dict.fromkeys([*own, *others]))
        directions = torch.zeros(len(self) + len(other), len(union), device=self.directions.device)
        directions[: len(self), : len(own)] = self.directions
        directions[len(self) :, [union.index(name) for name in others]] = similarity * other.directions
        return replace(
            self,
            features=torch.cat([self.features, other.features]),
            directions=directions,
            statistics=torch.cat([self.statistics, other.statistics], 1),
            release_steps=torch.cat([self.release_steps, other.release_steps + delay]),
            creators=torch.cat([self.creators, other.creators + int(self.creators.max()) + 1]),
        )

    @classmethod
    def of(
        cls,
        env: Any,
        schema: Schema,
        num_word_buckets: int,
        device: torch.device,
        *,
        describe: Describe | None = None,
        read: Read | None = None,
    ) -> "ItemContent":
        """The catalogue of an env; with descriptions if `describe` is given, and `READINGS` if `read` is."""
        items = env.simulator.world.items
        arrays = CatalogArrays.of(env.simulator, schema)
        media = ItemMedia.of(
            items,
            np.arange(len(items)),
            num_word_buckets,
            has_titles=schema.has_titles,
            has_images=schema.has_images,
            has_audio=schema.has_audio,
        )
        tensors: dict[str, Any] = {
            name: torch.tensor(array, device=device) if isinstance(array, np.ndarray) else array
            for name, array in (vars(arrays) | media._asdict()).items()
        }
        if read is not None:
            readings = torch.tensor(read(items), device=device)
            tensors["features"] = with_readings(tensors["features"], readings, schema)
        if describe is not None:
            texts = [
                description(items.title(item), items.feature_names, row) for item, row in enumerate(items.features)
            ]
            tensors["descriptions"] = describe(texts).to(device, torch.float16)
        return cls(**tensors)

    def item_state(self, items: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """[n, k, 4]: `ITEM_STATE` of items [n, k] at platform times [n, k] or [n, 1]."""
        ages = (times - self.release_steps[items]).clamp(0, MAX_AGE)
        refresh_at, scaled_age = _tables(items.device)
        return torch.cat([scaled_age[ages][:, :, None], self.statistics[refresh_at[ages], items]], 2)

    def dynamics(
        self,
        candidates: torch.Tensor,
        relevance: torch.Tensor,
        times: torch.Tensor,
        rows: torch.Tensor,
        feedback: torch.Tensor,
    ) -> torch.Tensor:
        """[n, M, J]: `DYNAMICS` of candidates [n, M] with `RELEVANCE_COLUMNS` [n, M, 3] at platform times [n], in
        sessions with rows [n, R] and feedback [n, R, T] so far; undefined for missing candidates."""
        items = candidates.clamp(min=0)
        is_same = rows[:, None] == items[:, :, None]  # [n, M, R]
        plays = ((is_same * feedback[:, None, :, _CLICK]).sum(2) / _MAX_PLAYS).clamp(max=1.0)
        followed = torch.zeros_like(plays)
        if self.has_creators and rows.shape[1] > 0:
            creators = torch.where(rows >= 0, self.creators[rows.clamp(min=0)], NO_CREATOR)
            is_theirs = creators[:, None] == self.creators[items][:, :, None]
            order = torch.arange(1, rows.shape[1] + 1, device=rows.device)
            follows = is_theirs * (feedback[:, :, _FOLLOW] * order)[:, None]  # [n, M, R]: the later, the further from 0
            is_followed = follows.amax(2) > -follows.amin(2)  # the last one counts
            followed = (is_followed & (self.creators[items] != NO_CREATOR)).to(plays.dtype)
        return torch.cat(
            [
                self.item_state(items, times[:, None]),
                torch.stack([plays, followed], 2),
                relevance * relevance.new_tensor(_RELEVANCE_UNITS),
                self._similarities(items, rows, feedback),
            ],
            2,
        )

    def _similarities(self, items: torch.Tensor, rows: torch.Tensor, feedback: torch.Tensor) -> torch.Tensor:
        """[n, M, 8]: `SIMILARITIES` of items [n, M] to rows [n, R] with feedback [n, R, T]."""
        is_row = (rows >= 0).to(feedback.dtype)
        cosines = self.directions[items] @ self.directions[rows.clamp(min=0)].transpose(1, 2)  # [n, M, R]
        click, rating = feedback[:, :, _CLICK], feedback[:, :, _RATING]
        signals = torch.stack(
            [
                click * feedback[:, :, _CONSUMPTION],
                2.5 * (rating - 0.6) * (rating > 0.0),
                1.0 - click,
                feedback[:, :, _PURCHASE],
            ],
            2,
        )  # [n, R, 4]
        later = is_row.sum(1, keepdim=True) - 1.0 - torch.arange(rows.shape[1], device=rows.device)  # [n, R]
        weights = torch.stack([is_row * decay ** later.clamp(min=0.0) for decay in MEMORIES.values()], 2)  # [n, R, 2]
        return _SIMILARITY_UNIT * cosines @ (weights[:, :, :, None] * signals[:, :, None]).flatten(2)


def with_readings(features: torch.Tensor, readings: torch.Tensor, schema: Schema) -> torch.Tensor:
    """[i, F]: content features [i, F] of items with `READINGS` [i, G] in their columns."""
    num_features = features.shape[1]
    order = [
        num_features + READINGS.index(name) if name in READINGS else column
        for column, name in enumerate(schema.content_names)
    ]
    return torch.cat([features, readings], 1)[:, order]


def description(title: str, feature_names: Sequence[str], features: np.ndarray) -> str:
    """An item with content features [F] in words, as in "Amazing: football and league, in depth. topic: football 0.8;
    appeal cue 0.6"."""
    strongest = np.argsort(-np.abs(features), kind="stable")[:NUM_DESCRIBED_FEATURES]
    described = [f"{feature_names[i]} {features[i]:.1f}" for i in strongest if abs(features[i]) >= _LEAST_DESCRIBED]
    return f"{title}. {'; '.join(described)}" if described else f"{title}."


@cache
def _tables(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """For each age, the refresh of statistics that is observed, and the scaled age."""
    return torch.tensor(REFRESH_AT, device=device), torch.tensor(SCALED_AGE, device=device)
