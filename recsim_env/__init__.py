"""Gymnasium environments that simulate recommender users.

Importing this package registers five ids for each scenario: `recsim_env/<Name>-v0` (one item per step),
`recsim_env/<Name>Slate-v0` (five items), `recsim_env/<Name>Content-v0` (a point in content space, for the nearest
candidate), `recsim_env/<Name>Catalog-v0` (the same, for the nearest available item) and `recsim_env/<Name>Lifetime-v0`
(users who come back: an episode has several visits). The first two have twins, `recsim_env/<Name>Flat-v0` and
`recsim_env/<Name>SlateFlat-v0`, whose observations are one vector instead of a dict. `recsim_env/Replay-v0`,
`ReplaySlate-v0` and `ReplayContent-v0` replay the ratings of held-out people of a log instead of simulating users. The
package imports neither Numba nor PyTorch nor Stable-Baselines3 until a name that needs them is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

from recsim_env.config import (
    BehaviourConfig,
    CatalogConfig,
    LifetimeConfig,
    PopulationConfig,
    RewardConfig,
    Scenario,
    SessionConfig,
)
from recsim_env.scenarios import LIFETIMES, REPLAY, SCENARIOS, scenario_named

if TYPE_CHECKING:
    from recsim_env.envs.single import RecommenderEnv
    from recsim_env.envs.vector import RecommenderVectorEnv, last_observations
    from recsim_env.logs import FittedWorld, RatingsLog, fit_log, load_or_fit, read_log
    from recsim_env.logs.simulated.log_folder import LogManifest, read_events, read_manifest, scan_events
    from recsim_env.logs.simulated.log_sets import load_log_set, log_set_names
    from recsim_env.logs.simulated.log_writer import LogWriter
    from recsim_env.logs.simulated.logged_ids import read_items, read_users
    from recsim_env.logs.simulated.minari_export import to_minari
    from recsim_env.logs.simulated.obp_export import to_obp
    from recsim_env.logs.simulated.replay import ReplayedStep, replay
    from recsim_env.sb3 import CandidatePolicy, CandidateQPolicy, RecommenderSB3VecEnv, make_sb3_vec_env
    from recsim_env.simulation.custom_user_model import UserModel
    from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK, RELEVANCE_COLUMNS, USER_FEEDBACK

__all__ = [
    "CANDIDATE_COLUMNS",
    "FEEDBACK",
    "LIFETIMES",
    "RELEVANCE_COLUMNS",
    "SCENARIOS",
    "USER_FEEDBACK",
    "BehaviourConfig",
    "CandidatePolicy",
    "CandidateQPolicy",
    "CatalogConfig",
    "FittedWorld",
    "LifetimeConfig",
    "LogManifest",
    "LogWriter",
    "PopulationConfig",
    "RatingsLog",
    "RecommenderEnv",
    "RecommenderSB3VecEnv",
    "RecommenderVectorEnv",
    "ReplayedStep",
    "RewardConfig",
    "Scenario",
    "SessionConfig",
    "UserModel",
    "fit_log",
    "last_observations",
    "load_log_set",
    "load_or_fit",
    "log_set_names",
    "make_sb3_vec_env",
    "read_events",
    "read_items",
    "read_log",
    "read_manifest",
    "read_users",
    "replay",
    "scan_events",
    "scenario_named",
    "to_minari",
    "to_obp",
]

__version__ = "0.4.0"

_MODULES = {
    "recsim_env.sb3": ("CandidatePolicy", "CandidateQPolicy", "RecommenderSB3VecEnv", "make_sb3_vec_env"),
    "recsim_env.envs.single": ("RecommenderEnv",),
    "recsim_env.envs.vector": ("RecommenderVectorEnv", "last_observations"),
    "recsim_env.logs": ("FittedWorld", "RatingsLog", "fit_log", "load_or_fit", "read_log"),
    "recsim_env.logs.simulated.log_folder": ("LogManifest", "read_events", "read_manifest", "scan_events"),
    "recsim_env.logs.simulated.logged_ids": ("read_items", "read_users"),
    "recsim_env.logs.simulated.minari_export": ("to_minari",),
    "recsim_env.logs.simulated.obp_export": ("to_obp",),
    "recsim_env.logs.simulated.replay": ("ReplayedStep", "replay"),
    "recsim_env.logs.simulated.log_sets": ("load_log_set", "log_set_names"),
    "recsim_env.logs.simulated.log_writer": ("LogWriter",),
    "recsim_env.simulation.custom_user_model": ("UserModel",),
    "recsim_env.simulation.observation": ("CANDIDATE_COLUMNS", "FEEDBACK", "RELEVANCE_COLUMNS", "USER_FEEDBACK"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

_VARIANTS: dict[str, dict[str, object]] = {
    "": {},
    "Slate": {"slate_size": 5},
    "Content": {"action": "content", "observation": "full"},
    "Catalog": {"action": "catalog", "observation": "full"},
}

_IDS: dict[str, dict[str, object]] = {}
for _name in SCENARIOS:
    for _variant, _arguments in _VARIANTS.items():
        _IDS[_name + _variant] = {"scenario": _name, **_arguments}
        if "action" not in _arguments:  # points need content
            _IDS[f"{_name}{_variant}Flat"] = {"scenario": _name, **_arguments, "observation": "flat"}
for _name in LIFETIMES:
    _IDS[_name] = {"scenario": _name}
for _variant in ("", "Slate", "Content"):  # without Catalog: nobody has rated all items
    _IDS[REPLAY.name + _variant] = {"scenario": REPLAY.name, "split": "test", **_VARIANTS[_variant]}

for _id, _kwargs in _IDS.items():
    gymnasium.register(
        id=f"recsim_env/{_id}-v0",
        entry_point="recsim_env.envs.single:RecommenderEnv",
        vector_entry_point="recsim_env.envs.vector:RecommenderVectorEnv",
        kwargs=_kwargs,
        # The env itself refuses invalid calls: unwrapped, its methods are at hand and steps cost less.
        order_enforce=False,
        disable_env_checker=True,
    )


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in ("filelock", "polars"):
            raise
        raise ImportError(f"{name} needs {error.name}: pip install 'recsim-env[logs]'") from None


def __dir__() -> list[str]:
    return sorted(globals() | _MODULE_OF)
