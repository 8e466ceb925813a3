"""Agents that recommend: rules, bandits, supervised and reinforcement learners, the large model, and references.

`make(name, env)` constructs one, `load(path)` brings back a saved one, `names()` lists them.
"""

from pathlib import Path

import recsim_env
from agents.registry import load, make, names
from recsim_env.simulation.compiled_cache import drop_stale_cache

__all__ = ["load", "make", "names"]

drop_stale_cache(Path(__file__).parent, Path(recsim_env.__file__).parent)
