"""The probes of `probe_environments` with compact observations, for learners that read the catalogue once."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
from probe_environments import PROBES, ProbeVectorEnv, first_observations

from recsim_env.config import BehaviourConfig, RewardConfig
from recsim_env.simulation.observation import STATISTICS
from recsim_env.simulation.records import NUM_REFRESHES

_NUM_FEATURES = 1


class _Items:
    """A catalogue with an item for each content."""

    feature_names = ("content",)
    images = audio = None

    def __init__(self, contents: np.ndarray) -> None:
        self.features = contents[:, None].astype(np.float32)

    def __len__(self) -> int:
        return len(self.features)

    @staticmethod
    def title(item: int) -> str:
        return "An item"


class _Simulator:
    """What of a simulator the large model asks for."""

    def __init__(self, num_sessions: int, num_slots: int, num_steps: int, contents: np.ndarray, layout: Any) -> None:
        self._num_sessions, self.layout, num_items = num_sessions, layout, len(contents)
        self.config = SimpleNamespace(
            slate_size=num_slots,
            session_length=num_steps,
            history_length=2 * num_slots,
            num_candidates=layout.num_candidates,
            reward_scale=1.0,
        )
        self.catalog_seed = 0
        self.world = SimpleNamespace(
            items=_Items(contents),
            users=SimpleNamespace(profile_names=("signal",)),
            scenario=SimpleNamespace(name="Probe", reward=RewardConfig(), behaviour=BehaviourConfig()),
            log_digest="",
            sizes=SimpleNamespace(num_creators=1),
            item_statistics=np.zeros((NUM_REFRESHES, num_items, len(STATISTICS)), np.float32),
            item_records={
                "answer_factors": np.zeros((num_items, 1, 1), np.float32),
                **{name: np.zeros(num_items, np.int64) for name in ("creator", "release_step")},
            },
            answer_variance=0.0,
        )

    def __len__(self) -> int:
        return self._num_sessions


class ProbeCompactEnv(ProbeVectorEnv):
    """N sessions of a probe: `observation="compact"`, actions of the kind `candidate`."""

    def __init__(self, num_envs: int = 1, *, observation: str = "compact", slate_size: int = 1, **options: Any) -> None:
        assert observation == "compact"
        self._arguments = {"num_envs": num_envs, "slate_size": slate_size, **options}
        super().__init__(num_envs, slate_size=slate_size, **options)
        self.simulator = _Simulator(num_envs, slate_size, self.probe.num_steps, self.contents, self.simulator.layout)  # type: ignore[assignment]

    observation_kind = "compact"

    def remake(self, **arguments: Any) -> "ProbeCompactEnv":
        return ProbeCompactEnv(**{**self._arguments, **arguments})

    def _observations(self) -> dict[str, np.ndarray]:
        return compact(super()._observations(), self.contents)


def compact(observations: dict[str, np.ndarray], contents: np.ndarray) -> dict[str, np.ndarray]:
    """`"full"` observations of a probe with those contents, as compact ones."""
    num_sessions, num_candidates = observations["candidate_mask"].shape
    history = observations["history"].reshape(num_sessions, -1, _NUM_FEATURES + 7)
    candidates = observations["candidates"].reshape(num_sessions, num_candidates, -1)[:, :, 0]
    is_used = history[:, :, _NUM_FEATURES] > 0.0
    return {
        "user": observations["user"],
        "history_items": np.where(is_used, np.searchsorted(contents, history[:, :, 0]), -1).astype(np.int32),
        "history_feedback": history[:, :, _NUM_FEATURES:].reshape(num_sessions, -1),
        "candidate_items": np.searchsorted(contents, candidates).astype(np.int32),
        "candidate_relevance": np.zeros((num_sessions, 3 * num_candidates), np.float32),
        "time": np.zeros((num_sessions, 1), np.int64),
    }


def first_compact_observations(name: str, slate_size: int = 1) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """As `first_observations`."""
    observations, rows, columns = first_observations(name, slate_size)
    return compact(observations, np.array(PROBES[name].contents)), rows, columns


for _name in PROBES:
    gymnasium.register(f"probes/{_name}-compact-v0", vector_entry_point=ProbeCompactEnv, kwargs={"probe": _name})
