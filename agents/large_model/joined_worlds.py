"""Sessions in several catalogues as sessions in one, so that one pass of a network reads all of them.

Shape legend: B sessions.
"""

from collections.abc import Sequence
from dataclasses import fields
from itertools import accumulate

import torch
from torch.nn.functional import pad

from agents.large_model.rollout import Sessions
from agents.networks.item_content import ItemContent

_IDS = ("candidates", "row_items")


def joined_content(contents: Sequence[ItemContent]) -> ItemContent:
    """One catalogue with the items of all, in this order, as far as recorded sessions need it: without directions,
    statistics, creators and release steps, which are in the `DYNAMICS` that were recorded.

    All are of the same scenario, or of an unknown one, and have the same modalities.
    """

    def joined(name: str) -> torch.Tensor | None:
        parts = [getattr(content, name) for content in contents]
        return None if parts[0] is None else _stacked(parts)

    first = contents[0]
    unused = {name: getattr(first, name)[:0] for name in ("directions", "statistics", "release_steps", "creators")}
    read = {name: joined(name) for name in ("features", "words", "images", "audio", "descriptions")}
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
