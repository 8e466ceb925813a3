"""References: policies that know the model of the user, or its latent state; some of their functions are compiled."""

from pathlib import Path

import recsim_env
from recsim_env.simulation.compiled_cache import drop_stale_cache

drop_stale_cache(Path(__file__).parents[1], Path(recsim_env.__file__).parent)
