"""Fitting a world to a ratings log, and the cache of fitted worlds.

Shape legend: N ratings, U users, I items, D factors.
"""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recsim_env.config import check_number, unknown_name
from recsim_env.logs.fitting.factorization import (
    FACTOR_RIDGES,
    OnPass,
    Ratings,
    chosen_ridges,
    fit_biases,
    fit_factors,
    held_out_errors,
    ignore_pass,
    num_passes,
    split_tenth,
)
from recsim_env.logs.fitting.fitted_world import FORMAT_VERSION, MAX_SELECTION, FittedWorld
from recsim_env.logs.fitting.ordinal_posterior import draw_ordinal_model, num_posterior_passes
from recsim_env.logs.fitting.selection import DEFAULT_SELECTION, estimated_selection
from recsim_env.logs.reading.log_files import WHERE_TO_GET_DATA, existing_log, find_log, fingerprint
from recsim_env.logs.reading.ratings_log import RatingsLog
from recsim_env.timed_line import timed_line

FIT_VERSION = 2
"""Increased when the same log and seed give a different world, so that cached worlds are fitted again."""

CONTENT = ("described", "factors")
"""Sources of item features: the item metadata, or factors learnt from the log."""

_APPEAL_PSEUDO_RATINGS = 5.0
_NUM_CONTENT_FACTORS = 8


def appeal_of(num_item_ratings: np.ndarray) -> np.ndarray:
    """[I] float64, mean 0 and standard deviation 1 (all 0 if items are equally popular).

    log(n + 5), standardised: the 5 dampens differences between small counts, which are mostly noise.
    """
    logarithm = np.log(num_item_ratings + _APPEAL_PSEUDO_RATINGS)
    spread = logarithm.std()
    return (logarithm - logarithm.mean()) / spread if spread > 1e-9 else np.zeros(len(logarithm))


def num_fit_passes(num_ratings: int) -> int:
    """Number of ratings that a fit processes, as counted by `OnPass`; roughly proportional to its duration."""
    return num_passes(num_ratings) + num_posterior_passes(num_ratings)


def fit_ratings(
    log: RatingsLog,
    *,
    num_factors: int = 16,
    seed: int = 0,
    random_exposure: RatingsLog | None = None,
    selection: float | None = None,
    content: str = "described",
    on_pass: OnPass = ignore_pass,
) -> FittedWorld:
    """Fit the rating model of `fitted_world` to a log.

    First biased matrix factorisation, whose held-out error goes into `fit_facts`; then one draw from the posterior of
    the ordinal model, initialised with the factorisation; then the selection. The result is a function of the log and
    the arguments.

    Args:
        log: a ratings log.
        num_factors: D, 1..256; reduced to one less than the number of users or items if that is smaller.
        seed: seed of the hold-out and of all draws, at least 0.
        random_exposure: ratings of items that were shown at random, from which the selection is estimated.
        selection: `FittedWorld.selection`, 0..3; by default estimated from `random_exposure`, or `DEFAULT_SELECTION`
            without it.
        content: item features: `described` by the item metadata, or `factors`, the first factors learnt from the log.
        on_pass: progress callback; the numbers of its calls sum to `num_fit_passes`.

    Raises:
        ValueError: an argument is out of range, or `random_exposure` has a different rating scale or no user-item pair
            of the log.
    """
    check_number("num_factors", num_factors, 1, 256, int)
    check_number("seed", seed, 0, 2**63 - 1, int)
    if content not in CONTENT:
        raise ValueError(f"content={content!r}: {unknown_name(content, CONTENT)}")
    if selection is not None:
        check_number("selection", selection, 0.0, MAX_SELECTION, float)
    num_users, num_items = len(log.user_ids), len(log.item_ids)
    num_factors = min(num_factors, num_users - 1, num_items - 1)
    num_item_ratings = np.bincount(log.items, minlength=num_items)
    appeal = appeal_of(num_item_ratings)
    ratings = Ratings(log.users, log.items, log.ratings, num_users, num_items)
    hold_out, start, posterior, trial = (np.random.default_rng([seed, purpose]) for purpose in range(4))

    train, test = split_tenth(ratings, hold_out)
    ridges = chosen_ridges(train, num_factors, trial, on_pass)
    # The posterior starts from factors even if biases alone predict best; such factors are nearly 0.
    finite = ridges._replace(factors=min(ridges.factors, max(FACTOR_RIDGES)))
    factorization = fit_factors(train, num_factors, finite, start, on_pass)
    tested = factorization if finite == ridges else fit_biases(train, ridges[:2])
    covariates = np.c_[np.ones(num_items), appeal, log.item_features]
    levels = log.level_indices, len(log.rating_levels)
    model = draw_ordinal_model(ratings, *levels, factorization, covariates, posterior, on_pass)
    features, feature_names = log.item_features, log.feature_names
    if content == "factors":
        features, feature_names = _factors_as_features(model.factors)
    item_names = ("item_ids", "titles", "item_topics", "topic_names")
    user_names = ("user_ids", "user_profiles", "profile_names")
    from_log: dict[str, Any] = {name: getattr(log, name) for name in (*item_names, *user_names)}
    world = FittedWorld(
        **from_log,
        item_features=features,
        feature_names=feature_names,
        item_factors=model.factors,
        quality=model.quality,
        appeal=appeal,
        num_item_ratings=num_item_ratings,
        interests=model.interests,
        rating_bias=model.bias,
        rating_scale=model.scale,
        num_user_ratings=np.bincount(log.users, minlength=num_users),
        rating_levels=log.rating_levels,
        rating_cuts=model.cuts,
        selection=0.0,
        fit_facts={
            "source": log.source,
            "seed": seed,
            "num_factors": num_factors,
            "num_ratings": len(log.ratings),
            "held_out_rmse": held_out_errors(train, test, tested, ridges),
            "factor_ridge": None if np.isinf(ridges.factors) else ridges.factors,
            "selection": "given" if selection is not None else "assumed" if random_exposure is None else "estimated",
        },
    )
    if selection is None:
        selection = DEFAULT_SELECTION if random_exposure is None else estimated_selection(world, random_exposure)
    return replace(world, selection=selection, quality=world.quality - selection)


def _factors_as_features(factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Item features and their names: the first factors, in units of three standard deviations."""
    first = factors[:, :_NUM_CONTENT_FACTORS]
    scaled = (first - first.mean(0)) / np.maximum(3.0 * first.std(0), 1e-9)
    names = [f"learnt factor {number + 1}" for number in range(first.shape[1])]
    return np.clip(scaled, -1.0, 1.0).astype(np.float32), np.array(names)


def fit_log(
    path: Path | str, *, items_path: Path | str | None = None, num_factors: int = 16, seed: int = 0
) -> FittedWorld:
    """Read a log and fit a world to it; see `fit_ratings` and `read_log` for arguments and errors."""
    from recsim_env.logs.reading.ratings_reader import read_log  # needs polars

    return fit_ratings(read_log(path, items_path), num_factors=num_factors, seed=seed)


def load_or_fit(path: Path | str | None = None, *, num_factors: int = 16, seed: int = 0) -> FittedWorld:
    """The world fitted to a log, cached in $RECSIM_CACHE (or ~/.cache/recsim_env) by the content of the log.

    Args:
        path: a fitted world (.npz), a MovieLens folder or a file of ratings; by default `find_log()`.
        num_factors: as in `fit_ratings`; ignored for a fitted world.
        seed: likewise.

    Raises:
        FileNotFoundError: the path does not exist, or no log was found.
        ImportError: the log is not cached, and polars is not installed.
        ValueError: the log or the fitted world is invalid.
    """
    if path is None:
        path = find_log()
        if path is None:
            setting = os.environ.get("RECSIM_DATA")
            reason = f"RECSIM_DATA={setting} contains no ratings log" if setting else "no ratings log found"
            raise FileNotFoundError(f"{reason}: {WHERE_TO_GET_DATA}")
    path = existing_log(path)
    if path.suffix == ".npz":
        return FittedWorld.load(path)
    name = f"world-{fingerprint(path, f'{FORMAT_VERSION} {FIT_VERSION} {num_factors} {seed}')}.npz"
    try:
        cached = Path(os.environ.get("RECSIM_CACHE") or Path.home() / ".cache" / "recsim_env") / name
        return FittedWorld.load(cached)
    except RuntimeError:  # no home folder, as in some containers
        cached = None
    except (OSError, ValueError):  # not cached, or damaged
        pass
    with timed_line(f"fitting a world to the ratings log {path.resolve().name}"):
        world = fit_log(path, num_factors=num_factors, seed=seed)
    if cached is not None:
        with suppress(OSError):  # if the cache cannot be written, the next call fits again
            cached.parent.mkdir(parents=True, exist_ok=True)
            world.save(cached)
    return world
