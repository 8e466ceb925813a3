"""Agents that recommend: baselines, oracles and learners behind one protocol (`agents.agent`)."""

from pathlib import Path

import recsim_env
from recsim_env.simulation.compiled_cache import drop_stale_cache

drop_stale_cache(Path(__file__).parent, Path(recsim_env.__file__).parent)
