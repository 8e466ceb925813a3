"""A fingerprint of the source code behind the rows of an agent, by which rows that other code has made are told.

It is of what the code says, not of how: comments, docstrings, line breaks and the names that a module imports or hands
on leave it as it is, as what is imported counts by itself.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

from benchmarks.results import ResultsError, Row
from benchmarks.roster import entry_named

OURS = frozenset({"agents", "recsim_env"})
"""Packages whose modules count; of other packages, rows give the versions."""

_WITHOUT_EFFECT = frozenset({"recsim_env.ratings_log.finding", "recsim_env.rendering"})
"""Modules that no row depends on: where a log lies (which one it was, rows say), how a session is drawn."""

_EVERYWHERE = ("agents.evaluation", "benchmarks.metrics", "recsim_env.vector_env")
"""Modules that stand behind the rows of all agents: the world, the evaluation, and what is measured in it."""


@cache
def source_fingerprint(agent_module: str) -> str:
    """Of the module of an agent, the world's and the evaluation's, and all of our packages that they import.

    Imports within functions count, too. The package of an agent that is not ours counts as one of ours. Nothing is
    imported to find out.

    Args:
        agent_module: `package.module`.
    """
    packages = OURS | {agent_module.partition(".")[0]}
    reached = _reached((agent_module, *_EVERYWHERE), packages)
    content = "\n".join(f"{name}\n{_statements(path)}" for name, path in sorted(reached.items()))
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def of_other_code(rows: Iterable[Row]) -> list[Row]:
    """The rows of agents that are here, made by other source code than is here now."""
    return [row for row in rows if _present_code(row["agent"]) not in (None, row.get("code"))]


@cache
def _present_code(agent: str) -> str | None:
    try:
        module = entry_named(agent).module
    except ResultsError:
        return None
    return source_fingerprint(module) if _file(module) else None


def _reached(roots: Iterable[str], packages: frozenset[str]) -> dict[str, Path]:
    """The files of the roots and of all modules in some packages that they lead to, by module."""
    found: dict[str, Path] = {}
    left = list(roots)
    while left:
        name = left.pop()
        path = _file(name)
        if name in found or name in _WITHOUT_EFFECT or path is None:
            continue
        found[name] = path
        imported = (name.rpartition(".")[0], *_imports(name, path))
        left += [each for each in imported if each.partition(".")[0] in packages]
    return found


@cache
def _file(module: str) -> Path | None:
    """Where a module is written; None for a name that is none, such as that of a class, or not written in Python."""
    top, *inner = module.split(".")
    spec = find_spec(top) if top else None
    if spec is None:
        return None
    bases = [Path(folder, *inner) for folder in spec.submodule_search_locations or ()]
    places = [place for base in bases for place in (base / "__init__.py", base.with_suffix(".py"))]
    if not inner and spec.origin:
        places = [Path(spec.origin)]
    return next((place for place in places if place.suffix == ".py" and place.is_file()), None)


def _imports(module: str, path: Path) -> Iterator[str]:
    """Names that a module imports: modules, and what may be a module of a package."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            source = resolve_name(name, package) if node.level else name
            yield from (source, *(f"{source}.{each.name}" for each in node.names))


@cache
def _statements(path: Path) -> str:
    """What a file does, in one way of writing."""
    tree = _tree(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_words_or_names(each)]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # never imported, or its import fails and says so
        return ast.Module(body=[], type_ignores=[])


def _is_words_or_names(statement: ast.stmt) -> bool:
    """Whether it is a docstring (of a module, class, function or attribute), an import or `__all__`."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0]) == "__all__"
    return isinstance(statement, ast.Import | ast.ImportFrom)
