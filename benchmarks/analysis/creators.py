"""The supply side: exposure and clicks of creators, overall and by popularity.

A creator is active if at least one of their items is available during the sessions. A creator's popularity is the
number of clicks on these items on the rest of the platform. Creators in the simulator neither leave nor change their
output, so their retention is not measured.

Shape legend: I items, K exposures, C active creators.
"""

from typing import Any

import numpy as np

from agents.rollouts.evaluation import Evaluation
from benchmarks.analysis.exposures import CatalogFacts, Exposures, is_available
from recsim_env.logs.fitting.log_comparison import gini

NUM_TERCILES = 3


def creator_metrics(evaluation: Evaluation, facts: CatalogFacts) -> dict[str, float | None]:
    """Exposure and clicks of creators; values are None in scenarios without creators, and without exposures or clicks.

    Returns:
        `creator_coverage`: share of active creators with at least one exposure; 0..1.
        `creator_exposure_gini`, `creator_click_gini`: inequality of exposures and clicks over creators; 0 if equal.
        `tail_creator_exposure`: share of exposures that go to the least popular third of creators; 0..1.
        `tail_creator_clicks`: share of clicks that go to the least popular third of creators; 0..1.
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
    """Exposures and clicks of creators by tercile of popularity, from the least popular third.

    Returns:
        Lists of length 3: `num_creators`, `num_exposures`, `num_clicks`, and `clicks_per_creator`, which is None for an
        empty tercile.
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
    """Exposures [C] float64, clicks [C] float64 and terciles of popularity [C] int64 of active creators."""
    shown, size = Exposures.of(evaluation, facts), facts.num_creators
    is_open = is_available(evaluation, facts)
    is_active = np.bincount(facts.creators[is_open], minlength=size) > 0
    popularity = np.bincount(facts.creators, facts.clicks[-1] * is_open, size)[is_active]
    creators = facts.creators[shown.items]
    exposures, clicks = (
        np.bincount(creators, weights, size)[is_active] for weights in (np.ones(len(creators)), shown.is_clicked)
    )
    ranks = np.empty(len(popularity), np.int64)
    ranks[np.argsort(popularity, kind="stable")] = np.arange(len(popularity))
    return exposures, clicks, ranks * NUM_TERCILES // max(len(ranks), 1)
