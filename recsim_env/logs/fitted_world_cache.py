"""The ratings log of this machine, and a cache of the worlds fitted to logs."""

import hashlib
import os
from pathlib import Path

from recsim_env.logs.fitted_world import FORMAT_VERSION, FittedWorld
from recsim_env.logs.fitting import FIT_VERSION, fit_log
from recsim_env.logs.reading import WHERE_TO_GET_DATA, files_of_log
from recsim_env.timed_line import timed_line

MOVIELENS_100K = "bc666f7d9e8b6fa85018805ed739d8857382ed0f79dc5ce7999bca097ce6da4e"
"""`fingerprint` of MovieLens-100K as distributed by GroupLens."""


def find_log() -> Path | None:
    """The ratings log of this machine, or None.

    If $RECSIM_DATA is set, it must be a MovieLens-100K folder, a folder that contains ml-100k, or a file; otherwise
    the result is None. If it is not set, ../shared/data/ml-100k relative to the current folder.
    """
    setting = os.environ.get("RECSIM_DATA")
    paths = [Path(setting), Path(setting) / "ml-100k"] if setting else [Path("..") / "shared" / "data" / "ml-100k"]
    for path in paths:
        if (path / "u.data").is_file() or path.is_file():
            return path
    return None


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
    path = Path(path)
    if path.suffix == ".npz":
        return FittedWorld.load(path)
    settings = f"{FORMAT_VERSION} {FIT_VERSION} {num_factors} {seed} {path.resolve().name}"
    cached = _cache_folder() / f"world-{fingerprint(path, settings)}.npz"
    if cached.is_file():
        try:
            return FittedWorld.load(cached)
        except ValueError:
            pass  # damaged: fit again, and replace it
    with timed_line(f"fitting a world to the ratings log {path.resolve().name}"):
        world = fit_log(path, num_factors=num_factors, seed=seed)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        world.save(cached)
    except OSError:
        pass  # without a cache the next call fits again
    return world


def _cache_folder() -> Path:
    setting = os.environ.get("RECSIM_CACHE")
    return Path(setting) if setting else Path.home() / ".cache" / "recsim_env"


def fingerprint(path: Path, settings: str = "") -> str:
    """sha256 of the content of a log or a fitted world, independent of its location, and of `settings`."""
    digest = hashlib.sha256(settings.encode())
    for file in files_of_log(path):
        content = file.read_bytes() if file.is_file() else b""  # fit_log reports missing files
        digest.update(f" {file.name} {len(content)} ".encode() + content)
    return digest.hexdigest()
