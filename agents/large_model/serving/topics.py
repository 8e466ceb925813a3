"""Scores of items by topic.

Shape legend: M items, K topics.
"""

import numpy as np


def topic_deviations(values: np.ndarray, topics: np.ndarray) -> np.ndarray:
    """[K] float64: the mean value of each topic's items minus that of all items, in standard deviations of the values;
    0 for topics without items.

    Args:
        values: [M] of the items.
        topics: [M, K], non-negative: the weights of each item's topics.
    """
    values = np.asarray(values, np.float64)
    deviations, totals = values - values.mean(), topics.sum(0)
    means = deviations @ topics / np.where(totals > 0.0, totals, 1.0)
    spread = values.std()
    return means / spread if spread > 0.0 else np.zeros(len(means))
