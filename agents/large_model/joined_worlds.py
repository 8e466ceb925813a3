"""Sessions in several catalogues as sessions in one, so that one pass of a network reads all of them.

Shape legend: B sessions, T steps of the longest, K steps of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import accumulate

import torch
from torch.nn.functional import pad

from agents.large_model.rollout import Sessions
from agents.networks.item_content import ItemContent

_IDS = ("candidates", "row_items")


@dataclass(frozen=True, eq=False)
class Part:
    """Sessions of a gradient step, with labels [K] of their K steps: keyword arguments of `SessionLoss.forward`."""

    sessions: Sessions
    content: ItemContent
    labels: dict[str, torch.Tensor]

    def weighted(self, share: float) -> "Part":
        """With `share` as the sum of the steps' weights in the loss."""
        importance = torch.full_like(self.labels["returns"], share / self.sessions.num_steps)
        return replace(self, labels={**self.labels, "importance": importance})

    @classmethod
    def joined(cls, parts: Sequence["Part"]) -> "Part":
        """All parts as one."""
        contents = [part.content for part in parts]
        labels = {name: torch.cat([part.labels[name] for part in parts]) for name in parts[0].labels}
        return cls(joined_sessions([part.sessions for part in parts], contents), joined_content(contents), labels)


@dataclass(frozen=True, eq=False)
class PlayedWorld:
    """Sessions of one world to learn from."""

    sessions: Sessions
    content: ItemContent
    advantages: torch.Tensor
    """[B, T]"""
    returns: torch.Tensor
    """[B, T]"""
    teacher_scale: float

    @cached_property
    def mean_length(self) -> float:
        """Mean number of steps of a session."""
        return self.sessions.num_steps / len(self.sessions)

    def part(self, index: torch.Tensor) -> Part:
        """Some of the sessions."""
        is_step = self.sessions.is_step[index]
        advantages, returns = self.advantages[index][is_step], self.returns[index][is_step]
        scale = torch.full_like(returns, self.teacher_scale)
        labels = {"advantages": advantages, "returns": returns, "teacher_scale": scale}
        return Part(self.sessions.select(index), self.content, labels)


def joined_content(contents: Sequence[ItemContent]) -> ItemContent:
    """One catalogue with the items of all, in this order, as far as recorded sessions need it: without statistics,
    creators and release steps, which are in the `DYNAMICS` that were recorded.

    All are of the same scenario, or of an unknown one, and have the same modalities.
    """

    def joined(name: str) -> torch.Tensor | None:
        parts = [getattr(content, name) for content in contents]
        return None if parts[0] is None else _stacked(parts)

    first = contents[0]
    unused = {name: getattr(first, name)[:0] for name in ("statistics", "release_steps", "creators")}
    read = {name: joined(name) for name in ("features", "directions", "words", "images", "audio", "descriptions")}
    return ItemContent(**unused, **read, domain=first.domain, has_creators=first.has_creators)  # type: ignore[arg-type]


def joined_sessions(parts: Sequence[Sessions], contents: Sequence[ItemContent]) -> Sessions:
    """All sessions, as sessions in `joined_content(contents)`; `contents` are the catalogues of the parts.

    Steps, candidates and rows are padded to the largest number. All have the same number of slots.
    """
    starts = accumulate((len(content) for content in contents), initial=0)
    offsets = [start for start, _ in zip(starts, parts, strict=False)]

    def joined(name: str) -> torch.Tensor | None:
        values = [getattr(part, name) for part in parts]
        if values[0] is None:
            return None
        if name in _IDS:
            values = [torch.where(ids >= 0, ids + offset, ids) for ids, offset in zip(values, offsets, strict=True)]
        return _stacked(values, -1 if name in _IDS else 0)

    return Sessions(**{each.name: joined(each.name) for each in fields(Sessions)})  # type: ignore[arg-type]


def _stacked(parts: Sequence[torch.Tensor], value: int = 0) -> torch.Tensor:
    """Parts [B, ...] one after the other, padded in all other dimensions."""
    shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]

    def padded(part: torch.Tensor) -> torch.Tensor:
        missing = [size - own for size, own in zip(shape, part.shape[1:], strict=True)]
        return pad(part, [side for size in reversed(missing) for side in (0, size)], value=value)

    return torch.cat([padded(part) for part in parts])
