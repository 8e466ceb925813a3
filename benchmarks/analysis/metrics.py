"""Metrics beyond reward: clicks, retention, coverage, diversity, novelty, discovery; reward by step, age and tenure.

Every metric is a pure function of an `Evaluation` and of `CatalogFacts`; `summary` computes all of them, including
those of `calibration` and `creators`. An undefined metric (no exposures, no arrivals) is None. Coverage, Gini and
discovery depend on the number of sessions: compare agents over the same sessions.

Shape legend: N sessions, T steps of the longest, I items, A refreshes of the background statistics, B bins.
"""

from typing import Any

import numpy as np

from agents.rollouts.evaluation import Evaluation
from benchmarks.analysis.calibration import miscalibration
from benchmarks.analysis.creators import creator_metrics, exposure_by_creator_popularity
from benchmarks.analysis.exposures import CatalogFacts, Exposures, is_available
from recsim_env.logs.fitting.log_comparison import gini
from recsim_env.simulation.records import NUM_REFRESHES
from recsim_env.simulation.relevance import MAX_AGE, REFRESH_AT

BIN_STARTS = np.concatenate([[0], 2 ** np.arange(NUM_REFRESHES - 1)])
"""[B] int64: first value of each bin of ages and tenures: 0, 1, 2, 4, ... 2**14; the last bin is open. Statistics are
refreshed at the same ages: B = A."""


def click_rate(evaluation: Evaluation, facts: CatalogFacts) -> float | None:
    """Share of exposures that were clicked: 0..1."""
    is_clicked = Exposures.of(evaluation, facts).is_clicked
    return float(is_clicked.mean()) if len(is_clicked) else None


def rating_per_click(evaluation: Evaluation) -> float | None:
    """Mean rating of clicked items (in a shop, of purchased ones), whether submitted or not: in (0, 5]."""
    num_ratings = int(evaluation.num_ratings.sum())
    return float(evaluation.rating_sums.sum() / num_ratings) if num_ratings else None


def catalog_coverage(evaluation: Evaluation, facts: CatalogFacts) -> float | None:
    """Share of the available items that were shown at all: 0..1.

    Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity", RecSys 2010.
    """
    num_available = int(is_available(evaluation, facts).sum())
    return len(np.unique(Exposures.of(evaluation, facts).items)) / num_available if num_available else None


def exposure_gini(evaluation: Evaluation, facts: CatalogFacts) -> float | None:
    """Inequality of exposure over the n available items: 0 if it is equal, 1 - 1/n if one item has all of it.

    G = sum_k (2k - n - 1) x_k / (n sum_k x_k) with x_1 <= ... <= x_n the exposures of the items, zeros included (Fleder
    and Hosanagar, "Blockbuster culture's next rise or fall", Management Science 55, 2009).
    """
    exposures = np.bincount(Exposures.of(evaluation, facts).items, minlength=len(facts.release_steps))
    counts = exposures[is_available(evaluation, facts)]
    return gini(counts) if counts.sum() else None


def intra_list_diversity(evaluation: Evaluation, facts: CatalogFacts) -> float | None:
    """Mean of 1 - cosine of content over all pairs of exposures of a session, then over sessions: 0..2.

    The list is all exposures of a session, whatever the slate size, so that slate sizes can be compared; an item shown
    twice is a pair at distance 0. Sessions with one exposure are left out. (Ziegler, McNee, Konstan and
    Lausen, "Improving recommendation lists through topic diversification", WWW 2005.) With unit vectors u the
    cosines of all pairs add up to (|sum_k u_k|^2 - sum_k |u_k|^2) / 2; all-zero content has cosine 0 to every item.
    """
    shown = Exposures.of(evaluation, facts)
    content = facts.content.astype(np.float64)
    lengths = np.linalg.norm(content, axis=1, keepdims=True)
    units = (content / np.where(lengths > 0.0, lengths, 1.0))[shown.items]
    num_sessions = len(evaluation.lengths)
    sums = np.stack([np.bincount(shown.sessions, column, num_sessions) for column in units.T], 1)
    cosines = 0.5 * ((sums**2).sum(1) - np.bincount(shown.sessions, (units**2).sum(1), num_sessions))
    num_shown = np.bincount(shown.sessions, minlength=num_sessions)
    num_pairs = 0.5 * num_shown * (num_shown - 1)
    has_pairs = num_pairs > 0
    return float((1.0 - cosines[has_pairs] / num_pairs[has_pairs]).mean()) if has_pairs.any() else None


def novelty(evaluation: Evaluation, facts: CatalogFacts) -> float | None:
    """Mean over exposures of -log2 p(i, t), in bits: self-information of the shown items.

    p(i, t) = (n_it + 1) / sum_j (n_jt + 1) with n_jt the background clicks of item j up to platform time t, and
    j over the items available at t (Castells, Vargas and Wang, "Novelty and diversity metrics for recommender
    systems: choice, discovery and relevance", DDR 2011; add-one smoothing).
    """
    shown = Exposures.of(evaluation, facts)
    if len(shown.items) == 0:
        return None
    counts = facts.clicks[REFRESH_AT[np.minimum(shown.ages, MAX_AGE)], shown.items] + 1.0
    return float(np.mean(np.log2(_available_totals(facts, shown.times) / counts)))


def _available_totals(facts: CatalogFacts, times: np.ndarray) -> np.ndarray:
    """Sum of clicks + 1 over the available items, at each of the platform times.

    A cumulative sum of changes: an item adds its new clicks at each refresh and removes all of them at retirement.
    """
    gains = np.diff(facts.clicks + 1.0, axis=0, prepend=0.0)
    at = np.minimum(facts.release_steps + BIN_STARTS[:, None], facts.retire_steps)
    changed_at = np.concatenate([*at, facts.retire_steps])
    order = np.argsort(changed_at, kind="stable")
    totals = np.cumsum(np.concatenate([*gains, -gains.sum(0)])[order])
    return totals[np.searchsorted(changed_at[order], times, side="right") - 1]


def new_item_exposure(evaluation: Evaluation, facts: CatalogFacts) -> float | None:
    """Share of the exposures of new items, those with an age below `facts.new_item_age`: 0..1."""
    ages = Exposures.of(evaluation, facts).ages
    return float((ages < facts.new_item_age).mean()) if len(ages) else None


def discovery(evaluation: Evaluation, facts: CatalogFacts) -> tuple[float | None, float | None]:
    """(share, steps): share of the arrivals that were shown at all, and their median time to the first exposure.

    Arrivals are the available items released after the first session began. Steps are platform time from release to the
    first exposure in any session, over the discovered arrivals only: a small share biases the median downwards.
    """
    shown = Exposures.of(evaluation, facts)
    is_arrival = is_available(evaluation, facts) & (facts.release_steps > evaluation.times[0].min())
    first_ages = np.full(len(facts.release_steps), np.iinfo(np.int64).max)
    np.minimum.at(first_ages, shown.items, shown.ages)
    is_found = is_arrival & (first_ages < np.iinfo(np.int64).max)
    share = float(is_found.sum() / is_arrival.sum()) if is_arrival.any() else None
    return share, float(np.median(first_ages[is_found])) if is_found.any() else None


def reward_by_step(evaluation: Evaluation, is_included: np.ndarray | None = None) -> dict[str, list]:
    """Mean reward at each step, over the sessions (of those in `is_included` [N] bool) that reach it.

    Lists of length T: `reward`, None where no session reaches the step, and `num_sessions`. Satisfied users stay, so
    later steps have a different mix of users.
    """
    is_counted = evaluation.is_running if is_included is None else evaluation.is_running & is_included
    num_sessions = is_counted.sum(1)
    return {
        "reward": _means((evaluation.rewards * is_counted).sum(1), num_sessions),
        "num_sessions": num_sessions.tolist(),
    }


def reward_by_item_age(evaluation: Evaluation, facts: CatalogFacts) -> dict[str, list]:
    """Mean reward of exposures by the age of the item; each slot counts with the reward of its whole slate.

    Lists of length B: `starts` (`BIN_STARTS`), `reward`, None for an empty bin, and `num_exposures`.
    """
    shown = Exposures.of(evaluation, facts)
    bins = _bins(shown.ages)
    num_exposures = np.bincount(bins, minlength=len(BIN_STARTS))
    return {
        "starts": BIN_STARTS.tolist(),
        "reward": _means(np.bincount(bins, shown.rewards, len(BIN_STARTS)), num_exposures),
        "num_exposures": num_exposures.tolist(),
    }


def reward_by_tenure(evaluation: Evaluation) -> dict[str, list]:
    """Mean reward of a step, and mean return of a session, by the logged steps of the user's history.

    Lists of length B: `starts` (`BIN_STARTS`; bin 0: cold-start users), `reward` and `return`, None for an empty
    bin, and `num_sessions`.
    """
    bins, size = _bins(evaluation.tenures), len(BIN_STARTS)
    returns, num_sessions = np.bincount(bins, evaluation.returns, size), np.bincount(bins, minlength=size)
    return {
        "starts": BIN_STARTS.tolist(),
        "reward": _means(returns, np.bincount(bins, evaluation.lengths, size)),
        "return": _means(returns, num_sessions),
        "num_sessions": num_sessions.tolist(),
    }


def _bins(values: np.ndarray) -> np.ndarray:
    return np.searchsorted(BIN_STARTS, values, side="right") - 1


def _means(sums: np.ndarray, counts: np.ndarray) -> list[float | None]:
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]


def summary(evaluation: Evaluation, facts: CatalogFacts) -> dict[str, Any]:
    """All metrics as JSON values: numbers, None where undefined, and the curves as dicts of lists.

    `session_length` is in steps, `churn` the share of the users who left, `industry_metric` the mean sum in a session
    of the term that `Scenario.metric` names, `return_visits` the mean visits of a user after the first, and
    `active_days` the mean days with a visit; both are None where a session is one visit. `by_step_cold` is `by_step`
    over cold-start users; `by_creator_popularity` is present only in scenarios with creators.
    """
    share_discovered, steps_to_discovery = discovery(evaluation, facts)
    has_creators = facts.num_creators > 1
    return {
        "session_length": evaluation.mean_length,
        "churn": evaluation.churn,
        "industry_metric": float(evaluation.metric.mean()),
        "click_rate": click_rate(evaluation, facts),
        "rating_per_click": rating_per_click(evaluation),
        "return_visits": float((evaluation.num_visits - 1).mean()) if facts.has_visits else None,
        "active_days": float(evaluation.num_active_days.mean()) if facts.has_visits else None,
        "miscalibration": miscalibration(evaluation, facts),
        "catalog_coverage": catalog_coverage(evaluation, facts),
        "exposure_gini": exposure_gini(evaluation, facts),
        "intra_list_diversity": intra_list_diversity(evaluation, facts),
        "novelty": novelty(evaluation, facts),
        "new_item_exposure": new_item_exposure(evaluation, facts),
        "share_discovered": share_discovered,
        "steps_to_discovery": steps_to_discovery,
        **creator_metrics(evaluation, facts),
        "by_step": reward_by_step(evaluation),
        "by_step_cold": reward_by_step(evaluation, evaluation.tenures == 0),
        "by_item_age": reward_by_item_age(evaluation, facts),
        "by_tenure": reward_by_tenure(evaluation),
        **({"by_creator_popularity": exposure_by_creator_popularity(evaluation, facts)} if has_creators else {}),
    }
