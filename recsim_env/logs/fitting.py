"""Fitting a world to a ratings log, with a cache of fitted worlds.

Shape legend: N ratings, U users, I items, D factors.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from recsim_env.config import check_number
from recsim_env.logs.factorization import Ratings, fit_factors, held_out_errors
from recsim_env.logs.fitted_world import FORMAT_VERSION, FittedWorld
from recsim_env.logs.ordinal_posterior import draw_ordinal_model
from recsim_env.logs.reading import WHERE_TO_GET_DATA, RatingsLog, existing_log, find_log, fingerprint, read_log
from recsim_env.timed_line import timed_line

FIT_VERSION = 1
"""Increase it when the same log and seed give a different world: cached worlds are then fitted again."""

_APPEAL_PSEUDO_RATINGS = 5.0


def appeal_of(num_item_ratings: np.ndarray) -> np.ndarray:
    """[I] float64, mean 0 and standard deviation 1 (all 0 if items are equally popular).

    log(n + 5), standardised: small counts are mostly noise, and hardly differ.
    """
    logarithm = np.log(num_item_ratings + _APPEAL_PSEUDO_RATINGS)
    spread = logarithm.std()
    return (logarithm - logarithm.mean()) / spread if spread > 1e-9 else np.zeros(len(logarithm))


def fit_log(
    path: Path | str, *, items_path: Path | str | None = None, num_factors: int = 16, seed: int = 0
) -> FittedWorld:
    """Read a log and fit a world to it; see `fit_ratings` and `reading.read_log` for arguments and errors."""
    return fit_ratings(read_log(path, items_path), num_factors=num_factors, seed=seed)


def fit_ratings(log: RatingsLog, *, num_factors: int = 16, seed: int = 0) -> FittedWorld:
    """Fit the rating model of `fitted_world` to a log.

    Biased matrix factorisation of the ratings (its held-out error goes into `fit_facts`), then one draw from the
    posterior of the ordinal model, initialised with it. The result depends only on the log and the arguments.

    Args:
        log: a ratings log.
        num_factors: D, 1..256; at most one less than the number of users and of items is used.
        seed: 0 or more; seed of the hold-out and of all draws.

    Raises:
        ValueError: an argument is out of its range.
    """
    check_number("num_factors", num_factors, 1, 256, int)
    check_number("seed", seed, 0, 2**63 - 1, int)
    num_users, num_items = len(log.user_ids), len(log.item_ids)
    num_factors = min(num_factors, num_users - 1, num_items - 1)
    num_item_ratings = np.bincount(log.items, minlength=num_items)
    appeal = appeal_of(num_item_ratings)
    ratings = Ratings(log.users, log.items, log.ratings, num_users, num_items)
    hold_out, start, posterior = (np.random.default_rng([seed, purpose]) for purpose in range(3))

    errors = held_out_errors(ratings, num_factors, hold_out)
    factorization = fit_factors(ratings, num_factors, start)
    covariates = np.c_[np.ones(num_items), appeal, log.item_features]
    model = draw_ordinal_model(ratings, factorization, covariates, posterior)
    item_names = ("item_ids", "titles", "item_topics", "topic_names", "item_features", "feature_names")
    user_names = ("user_ids", "user_profiles", "profile_names")
    return FittedWorld(
        **{name: getattr(log, name) for name in (*item_names, *user_names)},
        item_factors=model.factors,
        quality=model.quality,
        appeal=appeal,
        num_item_ratings=num_item_ratings,
        interests=model.interests,
        rating_bias=model.bias,
        rating_scale=model.scale,
        num_user_ratings=np.bincount(log.users, minlength=num_users),
        rating_cuts=model.cuts,
        fit_facts={
            "source": log.source,
            "seed": seed,
            "num_factors": num_factors,
            "num_ratings": len(log.ratings),
            "held_out_rmse": errors,
        },
    )


def load_or_fit(path: Path | str | None = None, *, num_factors: int = 16, seed: int = 0) -> FittedWorld:
    """The fitted world of a log; fitted once, then cached in $RECSIM_CACHE (or ~/.cache/recsim_env).

    Args:
        path: a fitted world (.npz), a MovieLens-100K folder or a CSV; by default `find_log()`.
        num_factors: as in `fit_log`; not used for a fitted world.
        seed: likewise.

    Raises:
        FileNotFoundError: the path does not exist, or no log was found.
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
    settings = f"{FORMAT_VERSION} {FIT_VERSION} {num_factors} {seed} {path.resolve().name}"
    name = f"world-{fingerprint(path, settings)}.npz"
    try:
        cached = Path(os.environ.get("RECSIM_CACHE") or Path.home() / ".cache" / "recsim_env") / name
        return FittedWorld.load(cached)
    except RuntimeError:  # a user without a home, as in containers
        cached = None
    except (OSError, ValueError):  # not cached, or damaged
        pass
    with timed_line(f"fitting a world to the ratings log {path.resolve().name}"):
        world = fit_log(path, num_factors=num_factors, seed=seed)
    if cached is not None:
        with suppress(OSError):  # without a cache the next call fits again
            cached.parent.mkdir(parents=True, exist_ok=True)
            world.save(cached)
    return world
