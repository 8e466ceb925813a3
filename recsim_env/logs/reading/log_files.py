"""Finding a ratings log, and a fingerprint of its content."""

import hashlib
import os
from pathlib import Path

from recsim_env.atomic_file import printable

WHERE_TO_GET_DATA = (
    "download MovieLens-100K (https://grouplens.org/datasets/movielens/100k/), unzip it and set RECSIM_DATA to the "
    "folder ml-100k, or use a ratings file of your own (python -m recsim_env.logs describe FILE)"
)
"""Where to get a ratings log, for error messages."""

MOVIELENS_100K = "bc666f7d9e8b6fa85018805ed739d8857382ed0f79dc5ce7999bca097ce6da4e"
"""`fingerprint` of MovieLens-100K as distributed by GroupLens."""

FOLDERS = {
    "u.data": ("u.item", "u.user"),
    "ratings.dat": ("movies.dat", "users.dat"),
    "ratings.csv": ("movies.csv", ""),
}
"""Files in MovieLens folders: ratings, and metadata of items and of users (empty if there is none)."""


def find_log() -> Path | None:
    """The ratings log that the environment variable `RECSIM_DATA` names, or None: a MovieLens folder, a folder that
    contains ml-100k, or a file."""
    setting = os.environ.get("RECSIM_DATA")
    paths = [Path(setting), Path(setting) / "ml-100k"] if setting else []
    return next((path for path in paths if path.is_file() or any((path / name).is_file() for name in FOLDERS)), None)


def existing_log(path: Path | str) -> Path:
    """`path`; `FileNotFoundError` if there is no such file or folder, `ValueError` if it is a device or a pipe."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{printable(path)}: no such file or folder; {WHERE_TO_GET_DATA}")
    if not (path.is_file() or path.is_dir()):
        raise ValueError(f"{printable(path)}: must be a file or a folder, not a device or a pipe")
    return path


def fingerprint(path: Path, settings: str = "") -> str:
    """sha256 of the content of a log or a fitted world, independent of its location, and of `settings`."""
    digest = hashlib.sha256(settings.encode())
    if path.is_dir():
        ratings = next((name for name in FOLDERS if (path / name).is_file()), "")
        files = {name: path / name for name in (ratings, *FOLDERS.get(ratings, ())) if name}
    else:
        files = {"": path}  # the name does not matter
    for name, file in files.items():
        content = file.read_bytes() if file.is_file() else b""  # read_log reports missing files
        digest.update(f" {name} {len(content)} ".encode() + content)
    return digest.hexdigest()
