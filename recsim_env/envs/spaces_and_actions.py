"""What the Gymnasium adapters share: from keyword arguments to a simulator, its spaces, and actions to slates.

Shape legend: N sessions, S slots of a slate, M candidates, F content features.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from recsim_env.config import RewardConfig, Scenario, SessionConfig
from recsim_env.scenarios import scenario_named
from recsim_env.simulation.custom_user_model import DEFAULT_USER_MODEL, UserModel
from recsim_env.simulation.observation import OBSERVATION_KINDS, STATISTICS
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.simulator import Simulator
from recsim_env.world.world import build_world

ACTION_KINDS = ("candidate", "content", "catalog")
"""`candidate`: indices of candidates (`Discrete`, or `MultiDiscrete` for slates). `content`: points in content
space (`Box`), each matched to the nearest candidate; `catalog`: each matched to the nearest item on the shelf."""

REWARD_TERMS = tuple(field.name for field in dataclasses.fields(RewardConfig))

REWARD_INFO_KEYS = tuple(f"reward_{term}" for term in REWARD_TERMS)
"""Keys of `info`: the reward's terms in this step, unweighted, each a mean over the slate's slots. `reward_rating` counts
ratings that the user did not submit as well, so it is not what the recommender observes; that is in the history."""

SEED_OPTIONS = ("world_seed", "user_seed", "noise_seed")


class Adapter:
    """A simulator, and how observations and actions look from outside. Arguments: see `RecommenderEnv`."""

    def __init__(
        self,
        num_sessions: int,
        *,
        scenario: str | Scenario,
        observation: str = "dict",
        action: str = "candidate",
        slate_size: int | None = None,
        num_candidates: int | None = None,
        session_length: int | None = None,
        history_length: int | None = None,
        catalog_seed: int = 0,
        split: str = "all",
        user_split: str | None = None,
        world: str | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        user_model: UserModel = DEFAULT_USER_MODEL,
        live_platform: bool = False,
        num_threads: int = 1,
    ) -> None:
        if observation not in OBSERVATION_KINDS:
            raise ValueError(f"observation={observation!r}: must be one of {', '.join(OBSERVATION_KINDS)}")
        if action not in ACTION_KINDS:
            raise ValueError(f"action={action!r}: must be one of {', '.join(ACTION_KINDS)}")
        preset = (scenario if isinstance(scenario, Scenario) else scenario_named(scenario)).override(overrides or {})
        given = {
            "slate_size": slate_size,
            "num_candidates": num_candidates,
            "session_length": session_length,
            "history_length": history_length,
        }
        session: SessionConfig = dataclasses.replace(
            preset.session, **{name: value for name, value in given.items() if value is not None}
        )
        path = None if world is None else str(world)
        drawn = build_world(preset, catalog_seed, split, path, user_model, user_split)
        self.simulator = Simulator(
            drawn, session, num_sessions, catalog_seed=catalog_seed, num_threads=num_threads, is_live=live_platform
        )
        self.observation, self.action, self.session = observation, action, session
        self.observation_space = self.simulator.layout.space(observation)
        self.action_space = self._action_space()
        self._is_index = isinstance(self.action_space, spaces.Discrete)
        self._single_slate = np.zeros((1, 1), np.int64)
        self._action_shape = (num_sessions, *(self.action_space.shape or ()))

    def _action_space(self) -> spaces.Space:
        num_slots, num_candidates = self.session.slate_size, self.session.num_candidates
        if self.action != "candidate":
            size = num_slots * self.simulator.layout.num_content_features
            return spaces.Box(-1.0, 1.0, (size,), np.float32)
        if num_slots == 1:
            return spaces.Discrete(num_candidates)
        return spaces.MultiDiscrete(np.full(num_slots, num_candidates))

    def slate(self, action: Any) -> np.ndarray:
        """[1, S] int64: the slate of one action, as `slates` says."""
        if self._is_index and isinstance(action, int | np.integer) and 0 <= action < self.session.num_candidates:
            self._single_slate[0, 0] = action  # the common case, at a tenth of the cost of the general one
            return self._single_slate
        return self.slates([action])

    def slates(self, actions: Any) -> np.ndarray:
        """[N, S] int64 indices of candidates from a batch of actions; `ValueError` saying what is wrong with it."""
        num_sessions, num_slots = len(self.simulator), self.session.slate_size
        try:
            given = np.asarray(actions)
        except ValueError:
            shape = self._action_shape
            raise ValueError(f"action of uneven shape: must be of shape {shape} (sessions first)") from None
        if given.shape != self._action_shape:
            raise ValueError(f"action of shape {given.shape}: must be of shape {self._action_shape} (sessions first)")
        if self.action != "candidate":
            if given.dtype.kind not in "fiu":
                raise ValueError(f"action of type {given.dtype}: must be numbers in [-1, 1]")
            is_wrong = ~((given >= -1.0) & (given <= 1.0))  # NaN too
            if is_wrong.any():
                raise ValueError(f"action={given[is_wrong].flat[0]}: must be a number in [-1, 1]")
            points = given.astype(np.float64).reshape(num_sessions, num_slots, -1)
            is_whole = self.action == "catalog"
            return self.simulator.show_nearest_items(points) if is_whole else self.simulator.nearest_candidates(points)
        if given.dtype.kind not in "iu":
            raise ValueError(f"action of type {given.dtype}: must be whole numbers (indices of candidates)")
        last = self.session.num_candidates - 1
        is_wrong = (given < 0) | (given > last)
        if is_wrong.any():
            wrong = given[is_wrong].flat[0]
            raise ValueError(f"action={wrong}: must be a candidate in [0, {last}]")
        return given.astype(np.int64, copy=False).reshape(num_sessions, num_slots)

    def action_masks(self) -> np.ndarray:
        """[N, S * M] bool: which candidates are there, once for each slot (the layout of `sb3_contrib`)."""
        is_there = np.asarray(self.simulator.sessions["candidates"]) != NO_ITEM
        return np.tile(is_there, (1, self.session.slate_size))

    @staticmethod
    def session_seeds(seeds: list[int], options: dict[str, Any] | None) -> np.ndarray:
        """[n, 3] uint64 seeds of the world, user and noise keys; an option replaces one of them in every session
        (counting up from one session to the next)."""
        columns = []
        for name in SEED_OPTIONS:
            start = (options or {}).get(name)
            chosen = seeds if start is None else [start + lane for lane in range(len(seeds))]
            columns.append([seed % 2**64 for seed in chosen])
        return np.array(columns, np.uint64).T

    @staticmethod
    def check_options(options: dict[str, Any] | None, allowed: tuple[str, ...] = SEED_OPTIONS) -> None:
        """Refuse unknown reset options, and seeds that are not whole numbers from 0."""
        for name, value in (options or {}).items():
            if name not in allowed:
                raise ValueError(f"options[{name!r}]: unknown; must be one of {', '.join(allowed)}")
            if name in SEED_OPTIONS and (not isinstance(value, int | np.integer) or value < 0):
                raise ValueError(f"options[{name!r}]={value!r}: must be a whole number of at least 0")


class BehindAdapter:
    """What both envs show besides observations: the simulator, and the catalogue that compact observations refer to."""

    _adapter: Adapter
    _arguments: dict[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that this env was made with."""
        return dict(self._arguments)

    @property
    def observation_kind(self) -> str:
        """ "dict", "flat" or "compact"."""
        return self._adapter.observation

    @property
    def simulator(self) -> Simulator:
        """The simulator behind this env; its `state` and `restore` save and bring back its sessions."""
        return self._adapter.simulator

    @property
    def catalog_features(self) -> np.ndarray:
        """[I, F] float32, read-only: the content features of every item."""
        return read_only(self.simulator.world.items.features)

    @property
    def catalog_statistics(self) -> np.ndarray:
        """[A, I, 3] float32, read-only: background statistics at each refresh; see `observation.REFRESH_AT`."""
        return read_only(self.simulator.world.item_statistics[:, :, : len(STATISTICS)])

    @property
    def catalog_release_steps(self) -> np.ndarray:
        """[I] int64, read-only: when each item is released; its age is the platform's `time` less this."""
        return read_only(self.simulator.world.item_records["release_step"])

    @property
    def catalog_creators(self) -> np.ndarray:
        """[I] int64, read-only: who made each item; all 0 where there is but one creator."""
        return read_only(self.simulator.world.item_records["creator"])


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to. (Compiled code is called with the array itself: Numba needs ten times as
    long to recognise a read-only one.)"""
    view = array.view()
    view.flags.writeable = False
    return view
