"""Agents that recommend: rules, bandits, learners (supervised, reinforcement, offline), the large model, references.

`make(name, env)` constructs one, `load(path)` brings back a saved one, `names()` lists them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.registry import load, make, names

__all__ = ["load", "make", "names"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from agents import registry

    return getattr(registry, name)
