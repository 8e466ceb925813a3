"""Ratings logs, worlds fitted to them, and logs of simulated sessions. See `python -m recsim_env.logs --help`."""

import importlib
from typing import TYPE_CHECKING, Any

from recsim_env.logs.fitting.fit import fit_log, fit_ratings, load_or_fit
from recsim_env.logs.fitting.fitted_world import FittedWorld
from recsim_env.logs.reading.log_files import MOVIELENS_100K, WHERE_TO_GET_DATA, existing_log, find_log, fingerprint
from recsim_env.logs.reading.ratings_log import NO_DISTINGUISHING_FEATURES, RatingsLog

if TYPE_CHECKING:
    from recsim_env.logs.reading.ratings_reader import ReadingOptions, read_content, read_log

__all__ = [
    "MOVIELENS_100K",
    "NO_DISTINGUISHING_FEATURES",
    "WHERE_TO_GET_DATA",
    "FittedWorld",
    "RatingsLog",
    "ReadingOptions",
    "existing_log",
    "find_log",
    "fingerprint",
    "fit_log",
    "fit_ratings",
    "load_or_fit",
    "read_content",
    "read_log",
]

_NEED_POLARS = ("ReadingOptions", "read_content", "read_log")


def __getattr__(name: str) -> Any:
    if name not in _NEED_POLARS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("recsim_env.logs.reading.ratings_reader"), name)
