"""Fingerprints of the source code behind result rows, by which rows that other code has made are told.

They are of what the code says, not of how: comments, docstrings and line breaks leave them as they are. Modules are
read, never imported; what is imported under a name that is made while running is not seen.
"""

import ast
import hashlib
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

from agents.registry import REGISTRY, module_of
from benchmarks.running.rows import Row

OURS = ("agents", "recsim_env")
"""Packages of ours whose modules count where they are imported."""

WORLD = ("benchmarks.running.run", "benchmarks.analysis.metrics", "recsim_env.envs.vector")
"""Modules that stand behind the rows of all agents: the world, the evaluation, and what is measured in it."""

_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_NOT_COMPARED = ("type_comment", "type_params", "kind", "ctx")
"""Fields of syntax that say nothing, or that not all versions of Python have."""


@cache
def source_fingerprint(*modules: str) -> str:
    """Of modules and of all that they import, within functions, too, as far as it is ours or the user's own.

    What lies in the standard library or is installed beside it does not count: of that, rows give the versions. Never
    raises: what cannot be found or read counts as empty.
    """
    reached = _reached(modules)
    content = b"\n".join(name.encode() + b"\n" + _statements(path) for name, path in sorted(reached.items()))
    package = _file("recsim_env")
    data = sorted((package.parent / "data").glob("*")) if package else []
    content += b"\n".join(path.read_bytes() for path in data if path.is_file())
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def of_other_code(rows: Iterable[Row]) -> list[Row]:
    """The rows of agents that are here, made by other source code than is here now, or by nobody knows which."""
    return [row for row in rows if _present_code(row["agent"]) not in (None, row.get("code"))]


def _present_code(agent: str) -> str | None:
    module = REGISTRY[agent].module if agent in REGISTRY else module_of(agent)
    return source_fingerprint(module, *WORLD) if _file(module) else None


def _reached(roots: Iterable[str]) -> dict[str, Path]:
    """The files of the roots and of all that counts of what they lead to, by module."""
    found: dict[str, Path] = {}
    left = list(roots)
    while left:
        name = left.pop()
        path = _file(name)
        if name in found or path is None:
            continue
        found[name] = path
        imported = (name.rpartition(".")[0], *_imports(name, path))
        left += [each for each in imported if _counts(each.partition(".")[0])]
    return found


@cache
def _counts(top: str) -> bool:
    """Whether modules of a package count where they are imported; of the benchmark's own only those of `WORLD` do."""
    if top in (*OURS, "benchmarks"):
        return top in OURS
    path = _file(top)
    return path is not None and not any(path.is_relative_to(folder) for folder in _LIBRARIES)


@cache
def _file(module: str) -> Path | None:
    """Where a module is written; None for a name that is none, such as that of a class, or not written in Python."""
    top, *inner = module.split(".")
    try:
        spec = find_spec(top)
        if spec is None:
            return None
        bases = [Path(folder, *inner) for folder in spec.submodule_search_locations or ()]
        places = [place for base in bases for place in (base / "__init__.py", base.with_suffix(".py"))]
        if not inner and spec.origin:
            places = [Path(spec.origin)]
        return next((place for place in places if place.suffix == ".py" and place.is_file()), None)
    except (ImportError, ValueError, OSError):  # no name of a module, or one that was made without a file
        return None


@cache
def _imports(module: str, path: Path) -> tuple[str, ...]:
    """Names that a module imports: modules, and what may be a module of a package."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(_imported(_tree(path), package))


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            try:
                source = resolve_name(name, package) if node.level else name
            except ImportError:  # beyond the top: it fails, and something else is imported in its place
                continue
            yield from (source, *(f"{source}.{each.name}" for each in node.names))


@cache
def _statements(path: Path) -> bytes:
    """What a file says, in one way of writing that all versions of Python share."""
    try:
        return _written(_tree(path)).encode()
    except RecursionError:  # a very long sum, or chain of calls
        return path.read_bytes()


def _written(node: object) -> str:
    """A tree of syntax without positions, empty fields, docstrings and `__all__`."""
    if isinstance(node, list):
        return f"[{' '.join(_written(each) for each in node if not _is_words(each))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if name not in _NOT_COMPARED)
    parts = (f" {name}={_written(value)}" for name, value in fields if value is not None and value != [])
    return f"({type(node).__name__}{''.join(parts)})"


@cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):  # its import fails and says so, or never happens
        return ast.Module(body=[], type_ignores=[])


def _is_words(node: object) -> bool:
    """Whether it is a docstring (of a module, class, function or attribute) or `__all__`."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
