"""Finding a ratings log on this machine, and keeping what was fitted to it."""

import hashlib
import os
from pathlib import Path

from recsim_env.logs.fitted_world import FORMAT_VERSION, FittedWorld
from recsim_env.logs.fitting import FIT_VERSION, fit_log
from recsim_env.logs.reading import WHERE_TO_GET_DATA, files_of_log

MOVIELENS_100K = "bc666f7d9e8b6fa85018805ed739d8857382ed0f79dc5ce7999bca097ce6da4e"
"""`fingerprint` of MovieLens-100K as GroupLens hands it out."""


def find_log() -> Path | None:
    """The ratings log of this machine, or None.

    $RECSIM_DATA, where it is set: a MovieLens-100K folder, a folder that contains ml-100k, or a file; None if
    it is none of these, as what was asked for is not quietly replaced. Else ../shared/data/ml-100k from the
    current folder.
    """
    named = os.environ.get("RECSIM_DATA")
    places = [Path(named), Path(named) / "ml-100k"] if named else [Path("..") / "shared" / "data" / "ml-100k"]
    for place in places:
        if (place / "u.data").is_file() or place.is_file():
            return place
    return None


def load_or_fit(path: Path | str | None = None, *, num_factors: int = 16, seed: int = 0) -> FittedWorld:
    """The fitted world of a log; fitted once, then kept in $RECSIM_CACHE (or ~/.cache/recsim_env).

    Args:
        path: a fitted world (.npz), a MovieLens-100K folder or a CSV; None takes `find_log()`.
        num_factors: as in `fit_log`; a fitted world has its own.
        seed: likewise.

    Raises:
        FileNotFoundError: there is nothing there, or no log was found; says where to get one.
        ValueError: the log or the fitted world is not as it must be.
    """
    if path is None:
        path = find_log()
        if path is None:
            named = os.environ.get("RECSIM_DATA")
            looked = f"RECSIM_DATA={named} holds no ratings log" if named else "no ratings log found"
            raise FileNotFoundError(f"{looked}: {WHERE_TO_GET_DATA}")
    path = Path(path)
    if path.suffix == ".npz":
        return FittedWorld.load(path)
    settings = f"{FORMAT_VERSION} {FIT_VERSION} {num_factors} {seed} {path.resolve().name}"
    cached = _cache_folder() / f"world-{fingerprint(path, settings)}.npz"
    if cached.is_file():
        try:
            return FittedWorld.load(cached)
        except ValueError:
            pass  # damaged since: fit again, and replace it
    world = fit_log(path, num_factors=num_factors, seed=seed)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        world.save(cached)
    except OSError:
        pass  # a cache that cannot be written costs the next fit, nothing else
    return world


def _cache_folder() -> Path:
    named = os.environ.get("RECSIM_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "recsim_env"


def fingerprint(path: Path, settings: str = "") -> str:
    """sha256 of what a log or a fitted world holds, wherever it lies, and of what is made of it (`settings`)."""
    digest = hashlib.sha256(settings.encode())
    for file in files_of_log(path):
        content = file.read_bytes() if file.is_file() else b""  # what is missing is fit_log's to report
        digest.update(f" {file.name} {len(content)} ".encode() + content)
    return digest.hexdigest()
