"""Items in words, for a trunk that knows words.

Shape legend: i items, F content features, E width of the language model.
"""

from collections.abc import Iterable, Sequence

import numpy as np

NUM_NAMED = 3
"""Features that a description names, the strongest first."""

_LEAST_NAMED = 0.05  # what would be said to be 0.0


def description(title: str, feature_names: Sequence[str], features: np.ndarray) -> str:
    """What there is to say of an item with content features [F], as in "Amazing: football and league, in depth.
    topic: football 0.8; appeal cue 0.6"."""
    strongest = np.argsort(-np.abs(features), kind="stable")[:NUM_NAMED]
    named = [f"{feature_names[place]} {features[place]:.1f}" for place in strongest if _is_said(features[place])]
    return f"{title}. {'; '.join(named)}" if named else f"{title}."


def descriptions(titles: Iterable[str], feature_names: Sequence[str], features: np.ndarray) -> list[str]:
    """[i] of items with content features [i, F]."""
    return [description(title, feature_names, row) for title, row in zip(titles, features, strict=True)]


def _is_said(value: float) -> bool:
    return abs(value) >= _LEAST_NAMED
