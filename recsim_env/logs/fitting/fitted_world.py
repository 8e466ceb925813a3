"""A world fitted to a ratings log: items, users and rating scale, stored in one .npz file.

The rating model, in units of rating noise (eps is standard normal, independent for each rating):
    opinion = rating_bias[u] + rating_scale[u] * (interests[u] . item_factors[i] + quality[i] + eps)
    rating  = the level after as many as there are rating_cuts below the opinion
Users choose the items that they rate, and choose items that they expect to like: eps has mean `selection` for an item
that a user chose to rate, and mean 0 for an item shown at random.

Shape legend: I items, U users, D factors, K topics, F item features, P profile features,
L rating levels, R = L - 1 cuts.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from recsim_env.atomic_file import printable, write_atomically
from recsim_env.config import check_number

FORMAT_VERSION = 2
"""Version of the .npz; other versions are rejected."""

MAX_SELECTION = 3.0
"""Upper bound of `FittedWorld.selection`."""

_MAX_BYTES = 2**31
"""Limit on the total size of the arrays in a file; enough for a few million users."""


def _array(axes: str, dtype: type = np.float64, least: float = -np.inf, greatest: float = np.inf) -> dict[str, Any]:
    """Axes (letters of the shape legend), type and range of a field."""
    return {"axes": axes, "dtype": dtype, "least": least, "greatest": greatest}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ItemParameters:
    """Items of a rating model."""

    item_factors: np.ndarray = field(metadata=_array("ID"))
    """[I, D] float64: multiplied by interests; in descending order of variance."""
    item_topics: np.ndarray = field(metadata=_array("IK", least=0.0, greatest=1.0))
    """[I, K] float64, rows on the simplex: equal weights on the genres, uniform without genres."""
    topic_names: np.ndarray = field(metadata=_array("K", np.str_))
    """[K] unicode."""
    quality: np.ndarray = field(metadata=_array("I"))
    """[I] float64: mean opinion of an item, in units of rating noise; averages -`selection` over the log's ratings."""
    appeal: np.ndarray = field(metadata=_array("I"))
    """[I] float64, mean 0 and standard deviation 1: attraction before consumption, from popularity in the log."""
    item_features: np.ndarray = field(metadata=_array("IF", np.float32, -1.0, 1.0))
    """[I, F] float32 in [-1, 1]: observable content."""
    feature_names: np.ndarray = field(metadata=_array("F", np.str_))
    """[F] unicode."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class UserParameters:
    """Users of a rating model."""

    interests: np.ndarray = field(metadata=_array("UD"))
    """[U, D] float64: likes and dislikes; each column has mean 0 and standard deviation 1."""
    rating_bias: np.ndarray = field(metadata=_array("U"))
    """[U] float64: leniency; mean 0."""
    rating_scale: np.ndarray = field(metadata=_array("U", least=1e-9))
    """[U] float64, positive, geometric mean 1: spread of a user's opinions."""
    user_profiles: np.ndarray = field(metadata=_array("UP", np.float32, -1.0, 1.0))
    """[U, P] float32 in [-1, 1]: observable profile."""
    profile_names: np.ndarray = field(metadata=_array("P", np.str_))
    """[P] unicode."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FittedWorld(ItemParameters, UserParameters):
    """Items, users and rating scale of one log. Validated on construction; the arrays are read-only."""

    item_ids: np.ndarray = field(metadata=_array("I", np.str_))
    """[I] unicode, in order of first rating in the log."""
    titles: np.ndarray = field(metadata=_array("I", np.str_))
    """[I] unicode; the id if the title is unknown."""
    num_item_ratings: np.ndarray = field(metadata=_array("I", np.int64, 1))
    """[I] int64, at least 1."""
    user_ids: np.ndarray = field(metadata=_array("U", np.str_))
    """[U] unicode, in order of first rating in the log."""
    num_user_ratings: np.ndarray = field(metadata=_array("U", np.int64, 1))
    """[U] int64, at least 1."""
    rating_levels: np.ndarray = field(metadata=_array("L", least=0.0, greatest=5.0))
    """[L] float64, ascending: the possible ratings."""
    rating_cuts: np.ndarray = field(metadata=_array("R"))
    """[L - 1] float64, ascending: thresholds of opinions between the levels."""
    selection: float
    """Mean rating noise of items that users chose to rate, at least 0, in units of its standard deviation."""
    behaviour: dict[str, dict[str, float]] = field(default_factory=dict)
    """Coefficients of the user model fitted to a log of shown items, by section and field of a scenario; they override
    its preset."""
    fit_facts: dict[str, Any]
    """Facts about the fit: source, seed, num_factors, num_ratings, held-out RMSE; JSON values only."""

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for spec in _ARRAYS:
            array = np.array(getattr(self, spec.name))
            _check_array(spec.name, array, sizes, **spec.metadata)
            array.setflags(write=False)
            object.__setattr__(self, spec.name, array)
        for name in ("fit_facts", "behaviour"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name}={getattr(self, name)!r}: must be a dict")
        if not np.allclose(self.item_topics.sum(1), 1.0):
            raise ValueError("item_topics: each row must sum to 1")
        for name in ("rating_levels", "rating_cuts"):
            if not (np.diff(getattr(self, name)) > 0).all():
                raise ValueError(f"{name}={getattr(self, name).tolist()}: must ascend")
        if len(self.rating_cuts) != len(self.rating_levels) - 1:
            raise ValueError(f"rating_cuts: must have one number fewer than rating_levels, got {len(self.rating_cuts)}")
        check_number("selection", self.selection, 0.0, MAX_SELECTION, float)

    def __repr__(self) -> str:
        source, num_users, num_items = self.fit_facts.get("source"), len(self.user_ids), len(self.item_ids)
        return f"FittedWorld({source!r}: {num_users} users, {num_items} items)"

    @property
    def digest(self) -> str:
        """SHA-256 of the arrays and `behaviour`, independent of the file."""
        digest = hashlib.sha256()
        for spec in _ARRAYS:
            array = getattr(self, spec.name)
            digest.update(f"{spec.name} {array.dtype} {array.shape} ".encode() + array.tobytes())
        digest.update(json.dumps(self.behaviour).encode())
        return digest.hexdigest()

    def affinity(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N] float64: interests . factors of pairs."""
        return np.einsum("nd,nd->n", self.interests[users], self.item_factors[items])

    def opinion(self, users: np.ndarray, items: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
        """[N] float64: opinions of pairs, given their noise; see the module docstring."""
        liking = self.affinity(users, items) + self.quality[items] + noise
        return self.rating_bias[users] + self.rating_scale[users] * liking

    def rate(
        self, users: np.ndarray, items: np.ndarray, generator: np.random.Generator, *, is_chosen: bool
    ) -> np.ndarray:
        """Draw ratings of pairs.

        Args:
            users: [N] integers, indices into `user_ids`.
            items: [N] integers, indices into `item_ids`.
            generator: source of the noise.
            is_chosen: True if the users chose to rate the items, as in the log; False if they were shown at random.

        Returns:
            [N] float64, each one of `rating_levels`.
        """
        noise = generator.standard_normal(len(users)) + (self.selection if is_chosen else 0.0)
        opinion = self.opinion(users, items, noise)
        # side="left" counts the cuts strictly below the opinion.
        return self.rating_levels[np.searchsorted(self.rating_cuts, opinion, side="left")]

    def save(self, path: Path | str) -> None:
        """Write one .npz, atomically.

        Raises:
            OSError: `path` cannot be written.
        """
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            format_version=np.int64(FORMAT_VERSION),
            selection=np.float64(self.selection),
            behaviour=np.array(json.dumps(self.behaviour)),
            fit_facts=np.array(json.dumps(self.fit_facts)),
            **{spec.name: getattr(self, spec.name) for spec in _ARRAYS},
        )
        write_atomically(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: Path | str) -> "FittedWorld":
        """Read a file written by `save`, without pickle.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged, of another version, or not a fitted world.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{printable(path)}: no such file; expected a fitted world (.npz)")
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > _MAX_BYTES:
                raise ValueError(f"declares {size:,} bytes; the limit is {_MAX_BYTES:,}")
            with np.load(path, allow_pickle=False) as archive:
                arrays = dict(archive)
            version = int(arrays.pop("format_version"))
            if version != FORMAT_VERSION:
                raise ValueError(f"format_version {version}, expected {FORMAT_VERSION}; fit the log again")
            selection = float(arrays.pop("selection"))
            objects = {name: json.loads(str(arrays.pop(name))) for name in ("fit_facts", "behaviour")}
            return cls(selection=selection, **objects, **arrays)
        except Exception as error:  # NumPy, zipfile, zlib and lzma each raise errors of their own
            reason = str(error).split("\n", 1)[0] or type(error).__name__
            raise ValueError(f"{path}: not a fitted world (.npz), or damaged ({reason})") from error


def _check_array(
    name: str, array: np.ndarray, sizes: dict[str, int], axes: str, dtype: type, least: float, greatest: float
) -> None:
    """Check an array against its `_array` field, and its shape against `sizes`; sizes of new axes are added."""
    if array.ndim != len(axes):
        raise ValueError(f"{name}: must have {len(axes)} axes, got {array.ndim}")
    for letter, size in zip(axes, array.shape, strict=True):
        if sizes.setdefault(letter, size) != size:
            raise ValueError(f"{name}: must have shape [{', '.join(axes)}] with {letter}={sizes[letter]}, got {size}")
    if not np.issubdtype(array.dtype, dtype):
        raise ValueError(f"{name}: must be {dtype.__name__}, got {array.dtype}")
    if dtype is np.str_:
        try:
            "".join(array.tolist()).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{name}: must be valid Unicode ({error.reason})") from error
    elif not (np.isfinite(array) & (array >= least) & (array <= greatest)).all():
        raise ValueError(f"{name}: must be finite numbers in [{least}, {greatest}]")


_ARRAYS = [spec for spec in fields(FittedWorld) if spec.metadata]
