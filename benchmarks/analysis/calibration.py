"""Miscalibration: the divergence between the topics that users are shown and the topics that they click.

Shape legend: N sessions, H rows of the history, G topics.
"""

import numpy as np

from agents.rollouts.evaluation import Evaluation
from benchmarks.analysis.exposures import CatalogFacts, Exposures
from recsim_env.simulation.records import NO_ITEM

SMOOTHING = 0.01
"""Alpha of Steck (2018): the weight of the clicks in the smoothed distribution of exposures, which keeps the divergence
finite."""


def miscalibration(evaluation: Evaluation, facts: CatalogFacts) -> float | None:
    """Mean over users of KL(p, q'), in nats: from 0, if shown and clicked topics have equal shares, to log(1 / 0.01).

    p is the distribution of topics over the items that a user clicked, in the session and in the logged history before
    it; q the distribution over the items shown in the session; q' = (1 - alpha) q + alpha p with alpha = 0.01, and
    KL(p, q') = sum_g p_g log(p_g / q'_g) (Steck, "Calibrated recommendations", RecSys 2018). Topics are the observed
    ones. Users without clicks are excluded; None if there are no others.

    Clicks depend on exposure: a user who is shown a single topic can only click on that topic, so read miscalibration
    together with diversity. It is larger with few clicks: compare agents over sessions of similar length.
    """
    shown, num_users = Exposures.of(evaluation, facts), len(evaluation.lengths)
    exposed = _topic_sums(shown.sessions, shown.items, num_users, facts)
    clicked = _topic_sums(shown.sessions[shown.is_clicked], shown.items[shown.is_clicked], num_users, facts)
    is_click = evaluation.clicked_before != NO_ITEM
    clicked += _topic_sums(np.nonzero(is_click)[0], evaluation.clicked_before[is_click], num_users, facts)
    is_counted = (clicked.sum(1) > 0.0) & (exposed.sum(1) > 0.0)
    if not is_counted.any():
        return None
    p, q = (sums[is_counted] / sums[is_counted].sum(1, keepdims=True) for sums in (clicked, exposed))
    smoothed = (1.0 - SMOOTHING) * q + SMOOTHING * p
    ratios = np.divide(p, smoothed, out=np.ones_like(p), where=p > 0.0)
    return float((p * np.log(ratios)).sum(1).mean())


def _topic_sums(users: np.ndarray, items: np.ndarray, num_users: int, facts: CatalogFacts) -> np.ndarray:
    """[N, G] float64: sum of the topics of each user's items."""
    topics = facts.topics[items]
    return np.stack([np.bincount(users, column, num_users) for column in topics.T], 1)
