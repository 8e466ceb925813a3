"""A world fitted to a ratings log: items, users and rating scale, stored in one .npz file.

The rating model, in units of rating noise (eps is standard normal, independent for each rating):
    opinion = rating_bias[u] + rating_scale[u] * (interests[u] . item_factors[i] + quality[i] + eps)
    rating  = 1 + number of rating_cuts below the opinion

Shape legend: I items, U users, D factors, K topics, F item features, P profile features.
"""

import dataclasses
import io
import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsim_env.atomic_file import printable, write_atomically

FORMAT_VERSION = 1
"""Version of the .npz; other versions are rejected."""

_NUMBERS: dict[str, tuple[str, type, float, float]] = {
    # field: (shape, type, least, greatest)
    "item_factors": ("ID", np.float64, -np.inf, np.inf),
    "item_topics": ("IK", np.float64, 0.0, 1.0),
    "quality": ("I", np.float64, -np.inf, np.inf),
    "appeal": ("I", np.float64, -np.inf, np.inf),
    "item_features": ("IF", np.float32, -1.0, 1.0),
    "num_item_ratings": ("I", np.int64, 1, np.inf),
    "interests": ("UD", np.float64, -np.inf, np.inf),
    "rating_bias": ("U", np.float64, -np.inf, np.inf),
    "rating_scale": ("U", np.float64, 1e-9, np.inf),
    "user_profiles": ("UP", np.float32, -1.0, 1.0),
    "num_user_ratings": ("U", np.int64, 1, np.inf),
    "rating_cuts": ("4", np.float64, -np.inf, np.inf),
}
_MAX_BYTES = 2**31
"""Limit for all arrays of a file together; enough for a few million users."""

_NAMES = {
    "item_ids": "I",
    "titles": "I",
    "topic_names": "K",
    "feature_names": "F",
    "user_ids": "U",
    "profile_names": "P",
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FittedWorld:
    """Items, users and rating scale of one log. Validated on construction; the arrays are read-only."""

    item_ids: np.ndarray
    """[I] unicode, in order of first rating in the log."""
    titles: np.ndarray
    """[I] unicode; the id if the title is unknown."""
    item_factors: np.ndarray
    """[I, D] float64: multiplied by interests; in descending order of variance."""
    item_topics: np.ndarray
    """[I, K] float64, rows on the simplex: equal weights on the genres, uniform without genres."""
    topic_names: np.ndarray
    """[K] unicode."""
    quality: np.ndarray
    """[I] float64: common opinion of an item, in units of rating noise; mean 0 over the ratings of the log."""
    appeal: np.ndarray
    """[I] float64, mean 0 and standard deviation 1: attraction before consumption, from the popularity in the log."""
    item_features: np.ndarray
    """[I, F] float32 in [-1, 1]: observable content."""
    feature_names: np.ndarray
    """[F] unicode."""
    num_item_ratings: np.ndarray
    """[I] int64, at least 1."""
    user_ids: np.ndarray
    """[U] unicode, in order of first rating in the log."""
    interests: np.ndarray
    """[U, D] float64: likes and dislikes; each column has mean 0 and standard deviation 1."""
    rating_bias: np.ndarray
    """[U] float64: leniency; mean 0."""
    rating_scale: np.ndarray
    """[U] float64, positive, geometric mean 1: spread of a user's opinions."""
    user_profiles: np.ndarray
    """[U, P] float32 in [-1, 1]: observable profile."""
    profile_names: np.ndarray
    """[P] unicode."""
    num_user_ratings: np.ndarray
    """[U] int64, at least 1."""
    rating_cuts: np.ndarray
    """[4] float64, ascending: opinions that separate the ratings 1 to 5."""
    fit_facts: dict[str, Any]
    """Facts about the fit: source, seed, num_factors, num_ratings, held-out RMSE; JSON values only."""

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {"4": 4}
        for name, (shape, kind, least, greatest) in _NUMBERS.items():
            array = np.asarray(getattr(self, name))
            _check_shape(name, array, shape, sizes)
            if array.dtype != kind:
                raise ValueError(f"{name}: must be {np.dtype(kind)}, got {array.dtype}")
            if not (np.isfinite(array) & (array >= least) & (array <= greatest)).all():
                raise ValueError(f"{name}: must be finite numbers in [{least}, {greatest}]")
        for name, shape in _NAMES.items():
            array = np.asarray(getattr(self, name))
            _check_shape(name, array, shape, sizes)
            if array.dtype.kind != "U":
                raise ValueError(f"{name}: must be text, got {array.dtype}")
            try:
                "".join(array.tolist()).encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"{name}: must be valid Unicode ({error.reason})") from error
        if not isinstance(self.fit_facts, dict):
            raise ValueError(f"fit_facts={self.fit_facts!r}: must be a dict")
        if not np.allclose(self.item_topics.sum(1), 1.0):
            raise ValueError("item_topics: each row must sum to 1")
        if not (np.diff(self.rating_cuts) > 0).all():
            raise ValueError(f"rating_cuts={self.rating_cuts.tolist()}: must ascend")
        for name in (*_NUMBERS, *_NAMES):
            array = np.array(getattr(self, name))
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __repr__(self) -> str:
        source, num_users, num_items = self.fit_facts.get("source"), len(self.user_ids), len(self.item_ids)
        return f"FittedWorld({source!r}: {num_users} users, {num_items} items)"

    def rate(self, users: np.ndarray, items: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draw ratings of pairs.

        Args:
            users: [N] integers, indices into `user_ids`.
            items: [N] integers, indices into `item_ids`.
            generator: source of the noise.

        Returns:
            [N] int64 in 1..5.
        """
        affinity = np.einsum("nd,nd->n", self.interests[users], self.item_factors[items])
        noise = generator.standard_normal(len(affinity))
        opinion = self.rating_bias[users] + self.rating_scale[users] * (affinity + self.quality[items] + noise)
        # side="left" counts the cuts strictly below the opinion.
        return 1 + np.searchsorted(self.rating_cuts, opinion, side="left").astype(np.int64)

    def save(self, path: Path | str) -> None:
        """Write one .npz, atomically.

        Raises:
            OSError: `path` cannot be written.
        """
        arrays = {name: getattr(self, name) for name in (*_NUMBERS, *_NAMES)}
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            format_version=np.int64(FORMAT_VERSION),
            fit_facts=np.array(json.dumps(self.fit_facts)),
            **arrays,
        )
        write_atomically(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: Path | str) -> "FittedWorld":
        """Read the file of `save`, without pickle.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged, has another version or is not a fitted world.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{printable(path)}: no such file; expected a fitted world (.npz)")
        try:
            arrays = _read_arrays(path)
        except Exception as error:  # NumPy, tokenize, zipfile, zlib and lzma each have errors of their own
            raise ValueError(f"{path}: not a fitted world (.npz), or damaged ({_first_line(error)})") from error
        fields = {field.name for field in dataclasses.fields(cls)}
        version = arrays.pop("format_version", None)
        if version is None or version.shape != () or version.dtype.kind != "i":
            raise ValueError(f"{path}: not a fitted world (no format_version)")
        if int(version) != FORMAT_VERSION:
            raise ValueError(f"{path}: format_version {int(version)}, expected {FORMAT_VERSION}; fit the log again")
        if set(arrays) != fields:
            wrong = ", ".join(sorted(set(arrays) ^ fields))
            raise ValueError(f"{path}: not a fitted world (missing or unknown: {wrong})")
        try:
            facts = json.loads(str(arrays.pop("fit_facts")))
            return cls(fit_facts=facts, **arrays)
        except Exception as error:  # a header can declare anything
            raise ValueError(f"{path}: damaged ({_first_line(error)})") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz; declared sizes are checked before anything is decompressed or allocated."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > _MAX_BYTES:
            raise ValueError(f"declares {size:,} bytes; the limit is {_MAX_BYTES:,}")
        for entry in archive.infolist():
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                read_header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read_header(file)
                num_bytes = math.prod(shape) * dtype.itemsize
                if file.tell() + num_bytes != entry.file_size:
                    raise ValueError(
                        f"{entry.filename} declares {num_bytes:,} bytes, and has {entry.file_size:,} with its header"
                    )
                file.seek(0)
                arrays[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def _check_shape(name: str, array: np.ndarray, shape: str, sizes: dict[str, int]) -> None:
    if array.ndim != len(shape):
        raise ValueError(f"{name}: must have {len(shape)} axes, got {array.ndim}")
    for letter, size in zip(shape, array.shape, strict=True):
        if sizes.setdefault(letter, size) != size:
            raise ValueError(f"{name}: must have shape [{', '.join(shape)}] with {letter}={sizes[letter]}, got {size}")


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0] or type(error).__name__
