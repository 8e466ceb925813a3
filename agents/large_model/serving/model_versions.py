"""The versions of a model in a folder, one of which is published: servers of the folder use it.

`versions.json` is the whole state, and is replaced in one step: a process that is killed leaves the old or the new
state. Each version is a folder of its own, with an export and the weights, which appears whole or not at all. Only
adding versions and reading their weights needs PyTorch.
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock

from agents.large_model.serving.export_folder import is_export
from recsim_env.atomic_file import printable, write_atomically

if TYPE_CHECKING:
    from agents.large_model.model import LargeModelNetwork

STATE = "versions.json"
WEIGHTS = "weights.safetensors"

_FORMAT_VERSION = 1
_NUM_CHECKED = 200
"""Observations in which the export of a version is compared with PyTorch."""
_UNFINISHED = ".unfinished-"
"""Starts the names of folders that are being written or deleted."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A change of the published version."""

    version: str
    """The version published by it."""
    time: float
    """Seconds since 1970."""
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What the decision rests on, such as results of an evaluation."""
    withdrawn: str | None = None
    """The version that was rolled back from; None unless this is a roll-back."""


@dataclass(kw_only=True)
class _State:
    """The content of `versions.json`."""

    versions: dict[str, dict[str, Any]]
    """The versions that can be published, oldest first; of each the time when it was added, and evidence."""
    history: list[Publication]

    @property
    def withdrawn(self) -> set[str]:
        """The versions that have been rolled back from, and not restored."""
        versions: set[str] = set()
        for each in self.history:
            versions.discard(each.version)  # a roll-back to it takes its withdrawal back
            if each.withdrawn is not None:
                versions.add(each.withdrawn)
        return versions

    @property
    def before(self) -> str | None:
        """The version that a roll-back leads to; None if there is none.

        A roll-back to a version undoes everything that was published after it.
        """
        line: list[str] = []
        for each in self.history:
            if each.withdrawn is None:
                line.append(each.version)
                continue
            before = next((n for n in reversed(range(len(line))) if line[n] == each.version), len(line) - 1)
            line = [*line[:before], each.version]
        withdrawn, published = self.withdrawn, line[-1]
        usable = (each for each in reversed(line) if each in self.versions and each not in {*withdrawn, published})
        return next(usable, None)


class ModelVersions:
    """The versions of a model in a folder, one of which is published.

    Any number of processes may use a folder at the same time; all properties are as of now.

    Args:
        folder: made by `create`.

    Raises:
        ValueError: the folder is no such folder, is damaged, or is not of this version; one line.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read()

    @classmethod
    def create(cls, folder: Path, network: "LargeModelNetwork") -> "ModelVersions":
        """A new folder, with a network as the first version, which is published.

        Raises:
            ValueError: the folder exists and is not empty, or the network cannot be exported.
            OSError: it cannot be written.
        """
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise ValueError(f"{printable(folder)}: must not exist, or be an empty folder")
        from agents.large_model.export import version_of

        version, now = version_of(network), time.time()
        new = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.new")
        try:
            new.mkdir(parents=True)
            _write_version(new / version, network)
            first = Publication(version=version, time=now, reason="first version")
            _write(new, _State(versions={version: {"added": now, "evidence": {}}}, history=[first]))
            os.replace(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return cls(folder)

    def add(self, network: "LargeModelNetwork", evidence: Mapping[str, Any] | None = None) -> str:
        """Add a network without publishing it; returns its version (`export.version_of`).

        Takes as long as an export. A version that exists already stays as it is, with its evidence.

        Args:
            network: its weights are not changed.
            evidence: what is known of it, for JSON.

        Raises:
            ValueError: the network cannot be exported, or its export scores differently.
            OSError: the folder cannot be written.
        """
        from agents.large_model.export import version_of

        version = version_of(network)
        with self._writing_folders() as unfinished:
            if version in self._read().versions:
                return version
            if not (self.folder / version).is_dir():  # there if a process was killed below
                _write_version(unfinished, network)
                os.rename(unfinished, self.folder / version)
            entry = {"added": time.time(), "evidence": dict(evidence or {})}
            self._change(lambda state: state.versions.setdefault(version, entry))
        return version

    @property
    def published(self) -> str:
        """The version that servers use."""
        return self._read().history[-1].version

    @property
    def history(self) -> list[Publication]:
        """All changes of the published version, oldest first."""
        return self._read().history

    @property
    def versions(self) -> list[str]:
        """All versions, in the order in which they were added."""
        return list(self._read().versions)

    def evidence_of(self, version: str) -> dict[str, Any]:
        """The evidence with which a version was added."""
        return _known(self._read(), self.folder, version)["evidence"]

    def is_withdrawn(self, version: str) -> bool:
        """Whether a version has been rolled back from, and not been restored by a roll-back to it."""
        return version in self._read().withdrawn

    def publish(self, version: str, reason: str, evidence: Mapping[str, Any] | None = None) -> None:
        """Let servers use a version. If it is published already, nothing changes.

        Args:
            version: returned by `add`.
            reason: in words.
            evidence: what the decision rests on, for JSON.

        Raises:
            ValueError: there is no such version, or it is withdrawn: only a roll-back to it publishes it again.
        """

        def change(state: _State) -> None:
            _known(state, self.folder, version)
            if version in state.withdrawn:
                raise ValueError(f"version {version!r}: is withdrawn; only a roll-back to it publishes it again")
            if state.history[-1].version != version:
                state.history.append(
                    Publication(version=version, time=time.time(), reason=reason, evidence=dict(evidence or {}))
                )

        self._change(change)

    def roll_back(self, to: str | None = None) -> str:
        """Publish an earlier version again, and withdraw the present one; returns the earlier version.

        Args:
            to: any other version; by default the one published before, skipping withdrawn ones.

        Raises:
            ValueError: there is no such version, or none before; or it is the published one.
        """

        def change(state: _State) -> str:
            present = state.history[-1].version
            version = state.before if to is None else to
            if version is None:
                raise ValueError(f"{printable(self.folder)}: no version was published before {present}")
            _known(state, self.folder, version)
            if version == present:
                raise ValueError(f"version {version!r}: is published already")
            state.history.append(
                Publication(version=version, time=time.time(), reason=f"roll-back from {present}", withdrawn=present)
            )
            return version

        return self._change(change)

    def prune(self, keep: int) -> list[str]:
        """Delete all versions except the `keep` newest, the published one, and the one before it.

        Returns those deleted.
        """

        def change(state: _State) -> list[str]:
            newest = list(state.versions)[max(len(state.versions) - keep, 0) :]
            kept = {*newest, state.history[-1].version, state.before}
            dropped = [version for version in state.versions if version not in kept]
            for version in dropped:
                del state.versions[version]
            return dropped

        with self._writing_folders() as unfinished:
            dropped = self._change(change)
            for path in list(self.folder.iterdir()):
                if is_export(path) and path.name not in self._read().versions:  # also of a process that was killed here
                    os.rename(path, unfinished)
                    shutil.rmtree(unfinished)
        return dropped

    def export_of(self, version: str) -> Path:
        """The folder of a version's export, for `ExportedModel`; `ValueError` if there is no such version."""
        _known(self._read(), self.folder, version)
        return self.folder / version

    def network_of(self, version: str, device: str = "cpu") -> "LargeModelNetwork":
        """The network of a version.

        Raises:
            ValueError: there is no such version, or it is damaged.
        """
        from agents.large_model.checkpoint import load_network

        return load_network(self.export_of(version) / WEIGHTS, device)

    def _read(self) -> _State:
        path, where = self.folder / STATE, printable(self.folder)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            form, versions = content["format"], content["versions"]
            history = [Publication(**each) for each in content["history"]]
            versions[history[-1].version]["evidence"]
        except (OSError, ValueError, LookupError, TypeError):
            raise ValueError(f"{where}: not a folder of versions; must be made by `versions --create`") from None
        if form != _FORMAT_VERSION:
            raise ValueError(f"{where}: versions in format {form}, must be {_FORMAT_VERSION}")
        return _State(versions=versions, history=history)

    def _change(self, change: Callable[[_State], T]) -> T:
        """The result of a function that changes the state, which is stored unless it raises an error."""
        with FileLock(self.folder / ".state.lock"):
            state = self._read()
            result = change(state)
            _write(self.folder, state)
        return result

    @contextmanager
    def _writing_folders(self) -> Iterator[Path]:
        """A place for the folder of a version while it is not whole, for one process at a time."""
        with FileLock(self.folder / ".folders.lock"):
            self._delete_unfinished()  # by a process that was killed
            try:
                yield self.folder / f"{_UNFINISHED}version"
            finally:
                self._delete_unfinished()

    def _delete_unfinished(self) -> None:
        for leftover in self.folder.glob(f"*{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def is_versions_folder(folder: Path) -> bool:
    """Whether there are versions in a folder, usable or damaged."""
    return (folder / STATE).is_file()


def _known(state: _State, folder: Path, version: str) -> dict[str, Any]:
    """The entry of a version; `ValueError` if there is none."""
    if version not in state.versions:
        raise ValueError(f"version {version!r}: not in {printable(folder)}, must be one of {', '.join(state.versions)}")
    return state.versions[version]


def _write_version(place: Path, network: "LargeModelNetwork") -> None:
    from agents.large_model.checkpoint import save_network
    from agents.large_model.export import export_network

    export_network(network, place, num_checked=_NUM_CHECKED)
    save_network(place / WEIGHTS, network)


def _write(folder: Path, state: _State) -> None:
    content = {
        "format": _FORMAT_VERSION,
        "versions": state.versions,
        "history": [asdict(each) for each in state.history],
    }
    write_atomically(folder / STATE, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
