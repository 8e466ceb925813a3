"""The file of a submitted agent: one Python file, and optionally the weights of the trained agent.

Both are copied into a separate folder, from which all processes import the module, so that the agent cannot
accidentally depend on files beside the original.
"""

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

from agents.agent import Agent, Learner
from agents.registry import REGISTRY, Entry
from agents.saved_tensors import saved_by
from benchmarks.rows import ResultsError
from recsim_env.atomic_file import write_atomically

WEIGHTS = "weights.safetensors"
_OURS = ("recsim_env", "agents", "benchmarks")


@dataclass(frozen=True, kw_only=True)
class AgentFile:
    """A class in a Python file, with optional weights, in a separate folder."""

    folder: Path
    module: str
    class_name: str
    has_weights: bool
    """Whether the agent is loaded from `WEIGHTS` instead of being trained in each run."""

    @property
    def source(self) -> Path:
        """The Python file."""
        return self.folder / f"{self.module}.py"

    @property
    def weights(self) -> Path | None:
        """The file of weights, if any."""
        return self.folder / WEIGHTS if self.has_weights else None

    @property
    def files(self) -> dict[str, bytes]:
        """Content of the files, by name."""
        return {path.name: path.read_bytes() for path in (self.source, self.weights) if path}

    @property
    def digest(self) -> str:
        """SHA-256 of the class name and the files."""
        parts = [self.class_name, *(f"{name} {sha256(content)}" for name, content in self.files.items())]
        return sha256("\n".join(parts).encode())

    def entry(self) -> Entry:
        """The agent as a registry entry, imported from this folder in this process and in worker processes.

        Raises:
            UnknownAgentError: the class cannot be imported or is not an agent.
            ResultsError: the weights do not belong to this class.
        """
        folder = str(self.folder.resolve())
        sys.path[:] = [folder, *(each for each in sys.path if each != folder)]  # worker processes inherit it
        if getattr(sys.modules.get(self.module), "__file__", None) != str(self.source.resolve()):
            sys.modules.pop(self.module, None)  # another file's module of that name
            importlib.invalidate_caches()
        entry = Entry(path=f"{self.module}:{self.class_name}", family="own")
        agent_class = entry.agent_class()
        if self.weights:
            _check_weights(self.weights, entry, agent_class)
        return entry

    def imported_packages(self) -> dict[str, str]:
        """Versions of the installed packages imported by the file, by name."""
        distributions = importlib.metadata.packages_distributions()
        packages = {name for root in _imports(self.source) for name in distributions.get(root, ()) if root not in _OURS}
        return {name: importlib.metadata.version(name) for name in sorted(packages)}


def sha256(content: bytes) -> str:
    """The SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def copied(target: str, weights: Path | None, folder: Path) -> AgentFile:
    """Copy the agent `FILE.py:CLASS` and its weights into a folder.

    Raises:
        ResultsError: a file does not exist, or the Python file is invalid (see `check_source`).
    """
    file, class_name = _split(target)
    check_source(file, folder)
    if weights and not weights.is_file():
        raise ResultsError(f"--weights {weights}: no such file")
    folder.mkdir(parents=True, exist_ok=True)
    agent = AgentFile(folder=folder, module=file.stem, class_name=class_name, has_weights=weights is not None)
    for path, origin in ((agent.source, file), (agent.weights, weights)):
        if path and origin and not (path.exists() and path.read_bytes() == origin.read_bytes()):
            write_atomically(path, origin.read_bytes())
    return agent


def check_source(file: Path, folder: Path) -> None:
    """Raise `ResultsError` unless the file is valid Python, has an importable name, and is self-contained.

    Imports of modules beside the file are rejected, unless the file is already in `folder`, its destination.
    """
    if file.stem in {*sys.stdlib_module_names, *_OURS, *importlib.metadata.packages_distributions()}:
        raise ResultsError(f"{file}: a package is named {file.stem!r}; rename the file")
    if not file.stem.isidentifier():
        raise ResultsError(f"{file}: {file.stem!r} is not a valid module name; use letters, digits and underscores")
    for root in _imports(file):
        if root in _OURS or root in sys.stdlib_module_names:
            continue
        beside = [path for path in (file.parent / f"{root}.py", file.parent / root) if path.exists()]
        if beside and file.parent.resolve() != folder.resolve():
            raise ResultsError(f"{file}: imports {beside[0]}; a submission is one self-contained file")
        if importlib.util.find_spec(root) is None:
            raise ResultsError(f"{file}: imports {root}, which is not installed")


def _split(target: str) -> tuple[Path, str]:
    path, _, class_name = target.rpartition(":")
    if not path.endswith(".py") or not class_name.isidentifier():
        raise ResultsError(f"agent {target!r}: must be FILE.py:CLASS, such as my_agent.py:MyAgent")
    if not Path(path).is_file():
        raise ResultsError(f"{path}: no such file")
    return Path(path), class_name


def _imports(file: Path) -> list[str]:
    """Names of the top-level packages imported anywhere in the file."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ResultsError(f"{file}: is not valid Python ({' '.join(str(error).split())})") from None
    roots: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ResultsError(f"{file}:{node.lineno}: relative import; a submission is one self-contained file")
            roots.add((node.module or "").partition(".")[0])
    return sorted(roots)


def _check_weights(weights: Path, entry: Entry, agent_class: type[Agent]) -> None:
    if not issubclass(agent_class, Learner):
        raise ResultsError(f"--weights {weights}: {entry.path} is not a Learner and cannot load weights")
    if is_zipfile(weights):  # even a safetensors file can be one, too
        raise ResultsError(f"--weights {weights}: can be read as a zip file; must be a file written by Agent.save")
    try:
        written_by = saved_by(weights)
    except ValueError as error:
        raise ResultsError(f"--weights {error}") from None
    if written_by != entry.path:
        raise ResultsError(f"--weights {weights}: was written by {written_by!r}, must be by {entry.path!r}")


def check_name(name: str, label: str = "--name") -> str:
    """The name of a submission; `ResultsError` if it is invalid or that of an agent in the registry.

    `label` names the source of the name in messages.
    """
    is_plain = name.isascii() and name.replace("-", "").isalnum() and name == name.lower().strip("-")
    if not (is_plain and 2 <= len(name) <= 40):
        raise ResultsError(f"{label} {name!r}: must be 2 to 40 lower-case letters, digits and hyphens")
    if name in REGISTRY:
        raise ResultsError(f"{label} {name!r}: an agent of the registry has that name; choose another")
    return name
