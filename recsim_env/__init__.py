"""A Gymnasium world of users whose interests nobody can see, and a catalogue that changes while they watch.

Importing this package registers, for each scenario, `recsim_env/<Name>-v0` (one item a step),
`recsim_env/<Name>Slate-v0` (five items a step), `recsim_env/<Name>Content-v0` (a point in content space, for the
nearest candidate) and `recsim_env/<Name>Catalog-v0` (the same, for the nearest item of all that there are).
"""

from pathlib import Path

import gymnasium

from recsim_env.scenarios import SCENARIOS
from recsim_env.simulation.compiled_cache import (
    drop_stale_cache,
    key_files_by_signature,
    make_names_unique,
    report_compilation,
)

__version__ = "0.1.0"

make_names_unique()
key_files_by_signature()
report_compilation()
drop_stale_cache(Path(__file__).parent)

_VARIANTS: dict[str, dict[str, object]] = {
    "": {},
    "Slate": {"slate_size": 5},
    "Content": {"action": "content"},
    "Catalog": {"action": "catalog"},
}

for _name in SCENARIOS:
    for _variant, _options in _VARIANTS.items():
        gymnasium.register(
            id=f"recsim_env/{_name}{_variant}-v0",
            entry_point="recsim_env.envs.single:RecommenderEnv",
            vector_entry_point="recsim_env.envs.vector:RecommenderVectorEnv",
            kwargs={"scenario": _name, **_options},
        )
