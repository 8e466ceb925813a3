"""A world from a real ratings log: read it, fit it, keep it. `python -m recsim_env.ratings_log --help`."""

from recsim_env.ratings_log.finding import MOVIELENS_100K, find_log, fingerprint, load_or_fit
from recsim_env.ratings_log.fitted_world import FittedWorld
from recsim_env.ratings_log.fitting import fit_log, fit_ratings
from recsim_env.ratings_log.reading import WHERE_TO_GET_DATA, RatingsLog, read_log

__all__ = [
    "MOVIELENS_100K",
    "WHERE_TO_GET_DATA",
    "FittedWorld",
    "RatingsLog",
    "find_log",
    "fingerprint",
    "fit_log",
    "fit_ratings",
    "load_or_fit",
    "read_log",
]
