"""The supply side: exposure and clicks of creators, and how much of both goes to those who are popular already.

A creator takes part if at least one item is available during the sessions. A creator's popularity is the number of
clicks on these items on the rest of the platform. The simulator's creators neither leave nor change their output, so
that there is no survival to measure.

Shape legend: I items, K exposures, C creators that take part.
"""

from typing import Any

import numpy as np

from agents.rollouts.evaluation import Evaluation
from benchmarks.analysis.exposures import CatalogFacts, Exposures, is_available
from recsim_env.logs.fitting.fidelity import gini

NUM_TERCILES = 3


def creator_metrics(evaluation: Evaluation, facts: CatalogFacts) -> dict[str, float | None]:
    """Exposure and return of the supply side; None in scenarios without creators, and without exposures or clicks.

    Returns:
        `creator_coverage`: share of the creators with an exposure; 0..1.
        `creator_exposure_gini`, `creator_click_gini`: inequality of exposures and of clicks; 0 if all have as many.
        `tail_creator_exposure`: share of the exposures that the least popular third of the creators gets; 0..1.
        `tail_creator_clicks`: the same of the clicks, which are a creator's return.
    """
    names = (
        *("creator_coverage", "creator_exposure_gini", "creator_click_gini"),
        *("tail_creator_exposure", "tail_creator_clicks"),
    )
    if facts.num_creators == 1:
        return dict.fromkeys(names)
    exposures, clicks, terciles = _by_creator(evaluation, facts)
    if not exposures.sum():
        return dict.fromkeys(names)
    has_clicks, is_tail = bool(clicks.sum()), terciles == 0
    values = (
        float((exposures > 0).mean()),
        gini(exposures),
        gini(clicks) if has_clicks else None,
        float(exposures[is_tail].sum() / exposures.sum()),
        float(clicks[is_tail].sum() / clicks.sum()) if has_clicks else None,
    )
    return dict(zip(names, values, strict=True))


def exposure_by_creator_popularity(evaluation: Evaluation, facts: CatalogFacts) -> dict[str, Any]:
    """Exposures and clicks of creators by the tercile of their popularity, the least popular third first.

    Lists of length 3: `num_creators`, `num_exposures`, `num_clicks`, and `clicks_per_creator`, None for an empty third.
    """
    exposures, clicks, terciles = _by_creator(evaluation, facts)
    num_creators, num_exposures, num_clicks = (
        np.bincount(terciles, weights, NUM_TERCILES) for weights in (np.ones(len(terciles)), exposures, clicks)
    )
    per_creator = [float(a / b) if b else None for a, b in zip(num_clicks, num_creators, strict=True)]
    return {
        "num_creators": num_creators.astype(int).tolist(),
        "num_exposures": num_exposures.astype(int).tolist(),
        "num_clicks": num_clicks.astype(int).tolist(),
        "clicks_per_creator": per_creator,
    }


def _by_creator(evaluation: Evaluation, facts: CatalogFacts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exposures, clicks [C] float64 and the tercile of popularity [C] int64 of each creator that takes part."""
    shown, size = Exposures.of(evaluation, facts), facts.num_creators
    is_open = is_available(evaluation, facts)
    takes_part = np.bincount(facts.creators[is_open], minlength=size) > 0
    popularity = np.bincount(facts.creators, facts.clicks[-1] * is_open, size)[takes_part]
    creators = facts.creators[shown.items]
    exposures, clicks = (
        np.bincount(creators, weights, size)[takes_part] for weights in (np.ones(len(creators)), shown.is_clicked)
    )
    ranks = np.empty(len(popularity), np.int64)
    ranks[np.argsort(popularity, kind="stable")] = np.arange(len(popularity))
    return exposures, clicks, ranks * NUM_TERCILES // max(len(ranks), 1)
