"""Splits of a ratings log: the parts of its items, and of its people."""

import numpy as np

SPLITS = ("all", "train", "validation", "test")
"""Parts of a world: no item and no user is in two of `train`, `validation` and `test`."""

SPLIT_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
"""Shares of the items and of the users of a ratings log."""


def split_indices(size: int, split: str, generator: np.random.Generator) -> np.ndarray:
    """Indices below `size`, ascending: all of them, or those of a random part, with the share in `SPLIT_SHARES`."""
    if split == "all":
        return np.arange(size)
    ends = np.cumsum([0.0, *SPLIT_SHARES.values()])
    which = list(SPLIT_SHARES).index(split)
    start, end = (round(size * share) for share in ends[which : which + 2])
    return np.sort(generator.permutation(size)[start:end])
