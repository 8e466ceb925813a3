"""Worlds from real ratings logs: reading, fitting, caching. `python -m recsim_env.logs --help`."""

from recsim_env.logs.fitted_world import FittedWorld
from recsim_env.logs.fitting import fit_log, fit_ratings, load_or_fit
from recsim_env.logs.reading import (
    MOVIELENS_100K,
    WHERE_TO_GET_DATA,
    RatingsLog,
    existing_log,
    find_log,
    fingerprint,
    read_log,
)

__all__ = [
    "MOVIELENS_100K",
    "WHERE_TO_GET_DATA",
    "FittedWorld",
    "RatingsLog",
    "existing_log",
    "find_log",
    "fingerprint",
    "fit_log",
    "fit_ratings",
    "load_or_fit",
    "read_log",
]
