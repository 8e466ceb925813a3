"""Compact observations as NumPy arrays, as an env returns them and `person.observation_of` makes them.

Shape legend: n sessions, H rows of an observed history, newest first; M candidates.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsim_env.simulation.observation import FEEDBACK, RELEVANCE_COLUMNS

_NUM_COLUMNS = {"history_feedback": len(FEEDBACK), "candidate_relevance": len(RELEVANCE_COLUMNS)}
"""Columns of the parts whose rows stand one after the other."""

_PADDING = {"history_items": -1, "candidate_items": -1}

_TYPES = {"history_items": np.int64, "candidate_items": np.int64, "time": np.int64}


def check_history(simulator: Any) -> None:
    """`ValueError` if an observation's history is too short for the feedback to one slate."""
    config = simulator.config
    if config.history_length < config.slate_size:
        raise ValueError(
            f"history_length={config.history_length}: must be at least slate_size={config.slate_size}, so that the "
            "feedback to a whole slate is observed"
        )


def stack_observations(observations: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One batch of some batches, usually of one session each, padded to the longest history and the most candidates."""
    batch = {}
    for name in observations[0]:
        width = _NUM_COLUMNS.get(name)
        parts = [
            part if width is None else part.reshape(len(part), -1, width) for part in (o[name] for o in observations)
        ]
        rows = stacked([row for part in parts for row in part], _PADDING.get(name, 0))
        batch[name] = rows if width is None else rows.reshape(len(rows), -1)
    return batch


def newest_rows(observations: Mapping[str, np.ndarray], num_rows: int) -> dict[str, np.ndarray]:
    """The same with the newest `num_rows` rows of the histories, as far as there are as many."""
    return {
        **observations,
        "history_items": observations["history_items"][:, :num_rows],
        "history_feedback": observations["history_feedback"][:, : num_rows * len(FEEDBACK)],
    }


def as_inputs(observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same in the types that exported graphs read: int64 and float32."""
    return {name: np.ascontiguousarray(part, _TYPES.get(name, np.float32)) for name, part in observations.items()}


def stacked(arrays: Sequence[np.ndarray], fill: float = 0.0, least: Sequence[int] = ()) -> np.ndarray:
    """[n, ...]: arrays with the same number of dimensions, padded at the end of each dimension to the largest size, at
    least to the sizes `least`."""
    shape = [max(sizes) for sizes in zip(*(array.shape for array in arrays), *([least] if least else []), strict=True)]
    found = np.full((len(arrays), *shape), fill, arrays[0].dtype)
    for row, array in enumerate(arrays):
        index: Any = (row, *map(slice, array.shape))
        found[index] = array
    return found
