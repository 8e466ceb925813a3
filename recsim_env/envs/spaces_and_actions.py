"""Shared by the single and the vector env: arguments to a simulator, spaces, and actions to slates.

Shape legend: N sessions, S slots of a slate, M candidates, F content features.
"""

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from recsim_env.config import Scenario, SessionConfig, unknown_name
from recsim_env.envs.session_recording import SessionRecording
from recsim_env.envs.session_text import session_as_text
from recsim_env.scenarios import scenario_named
from recsim_env.simulation.custom_user_model import UserModel
from recsim_env.simulation.observation import OBSERVATION_KINDS, STATISTICS, ObservationLayout
from recsim_env.simulation.records import NO_ITEM, REWARD_TERMS
from recsim_env.simulation.replay_simulator import ReplaySimulator
from recsim_env.simulation.simulator import Simulator
from recsim_env.world.world import build_world

ACTION_KINDS = ("candidate", "content", "catalog")
"""`candidate`: indices of candidates (`Discrete`, or `MultiDiscrete` for slates). `content`: points in content space
(`Box`), each matched to the nearest candidate; `catalog`: each matched to the nearest available item."""

REWARD_INFO_KEYS = tuple(f"reward_{term}" for term in REWARD_TERMS)
"""Keys of `info`: the unweighted terms of the reward in this step, 0 after `reset`. `reward_rating` includes ratings
that the user did not submit; the history holds only submitted ones."""

_WHOLE_NUMBERS = (int, np.integer)  # a union would be made anew in each call

SEED_OPTIONS = ("candidate_seed", "user_seed", "noise_seed")

VECTOR_ARGUMENTS = ("num_envs", "autoreset_mode", "max_episode_steps")
"""Arguments of `RecommenderVectorEnv` that `RecommenderEnv` does not have."""

_LENGTH_IN_SPEC = "spec_session_length"
"""In the arguments of a spec: the session length that its `max_episode_steps` states. Gymnasium takes the latter for a
time limit of every env that it makes from the spec, also of one with longer sessions."""

PICTURE_MODES = ("human", "rgb_array")
"""Render modes that draw a `SessionRecording`."""


class EnvArguments(TypedDict, total=False):
    """Keyword arguments of `RecommenderEnv`, which describes them."""

    scenario: str | Scenario
    observation: str
    action: str
    slate_size: int | None
    num_candidates: int | None
    session_length: int | None
    history_length: int | None
    candidates: str | None
    candidate_order: str | None
    reward_scale: float | None
    catalog_seed: int
    split: str
    user_split: str | None
    world_seed: int
    structure_split: str
    world: str | Path | None
    overrides: Mapping[str, Mapping[str, Any]] | None
    user_model: UserModel
    live_platform: bool
    num_threads: int
    render_mode: str | None


class SimulatorAccess:
    """Shared by both envs: the simulator, its spaces, and the catalogue that compact observations refer to."""

    metadata: dict[str, Any]
    render_mode: str | None
    arguments: dict[str, Any]
    """The keyword arguments of this env; `world` is the absolute path of its log, if it has one."""
    observation_kind: str
    """One of `OBSERVATION_KINDS`."""
    simulator: Simulator
    """The simulator of this env; its `state` and `restore` save and restore its sessions."""
    max_episode_steps: int | None = None
    """Steps after which sessions are truncated, if that is earlier than their `session_length`."""
    recordings: dict[int, SessionRecording]
    """The session so far of each lane by its index, for `session_figure`; kept in the modes that draw pictures."""
    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """Made by `gymnasium.make` and `make_vec`. It states the largest number of steps, and `to_json` writes it."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            max_steps = int(self.simulator.parameters["max_steps"][0])
            kwargs = {name: value for name, value in spec.kwargs.items() if name != "max_episode_steps"}
            kwargs[_LENGTH_IN_SPEC] = self.simulator.config.session_length
            spec = dataclasses.replace(spec, max_episode_steps=max_steps, kwargs=_for_json(kwargs))
        self._spec = spec

    def _set_up(
        self, num_sessions: int, local_variables: dict[str, Any]
    ) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
        """Build the simulator from the arguments of `__init__`; `TypeError` for a misspelt one.

        Returns the spaces of observations and of actions in one session.
        """
        length_in_spec = local_variables["unknown"].pop(_LENGTH_IN_SPEC, None)
        known = [name for name in local_variables if name not in ("self", "unknown")]
        check_argument_names(local_variables["unknown"], known)
        self.render_mode, modes = local_variables["render_mode"], self.metadata["render_modes"]
        if self.render_mode not in (None, *modes):
            raise ValueError(f"render_mode={self.render_mode!r}: must be None or one of {', '.join(modes)}")
        self.arguments = arguments = {name: local_variables[name] for name in EnvArguments.__annotations__}
        for name, kinds in (("observation", OBSERVATION_KINDS), ("action", ACTION_KINDS)):
            if not isinstance(arguments[name], str) or arguments[name] not in kinds:
                raise ValueError(f"{name}={arguments[name]!r}: must be one of {', '.join(kinds)}")
        self.observation_kind, self._action_kind = arguments["observation"], arguments["action"]
        self.simulator = self._make_simulator(num_sessions)
        layout, session = self.simulator.layout, self.simulator.config
        is_limited = length_in_spec is not None and self.max_episode_steps in (None, length_in_spec)
        if is_limited and session.session_length > length_in_spec:
            raise ValueError(
                f"session_length={session.session_length}: must be at most {length_in_spec}, the largest number of "
                "steps in the spec that the env is made from; make it by its id"
            )
        actions = action_space(self._action_kind, session.slate_size, layout)
        self.recordings = {}
        self._is_index = isinstance(actions, spaces.Discrete)
        self._single_slate = np.zeros((1, 1), np.int64)
        self._action_shape = (num_sessions, *(actions.shape or ()))
        return layout.space(self.observation_kind), actions

    def _make_simulator(self, num_sessions: int) -> Simulator:
        arguments = self.arguments
        scenario, catalog_seed = arguments["scenario"], arguments["catalog_seed"]
        preset = scenario if isinstance(scenario, Scenario) else scenario_named(scenario)
        preset = preset.override({} if arguments["overrides"] is None else arguments["overrides"])
        sizes = {field.name: arguments[field.name] for field in dataclasses.fields(SessionConfig)}
        session = dataclasses.replace(
            preset.session, **{name: value for name, value in sizes.items() if value is not None}
        )
        drawn = build_world(
            preset,
            catalog_seed,
            arguments["split"],
            world_path=arguments["world"],
            user_model=arguments["user_model"],
            user_split=arguments["user_split"],
            world_seed=arguments["world_seed"],
            structure_split=arguments["structure_split"],
        )
        arguments["world"] = None if drawn.source is None else drawn.source.path
        num_items = len(drawn.items)
        if session.num_candidates > num_items:
            raise ValueError(
                f"num_candidates={session.num_candidates}: must be at most the number of items, {num_items}"
            )
        if arguments["action"] == "catalog" and drawn.real_ratings:
            raise ValueError("action='catalog': must be 'candidate' or 'content' in Replay; nobody has rated all items")
        simulator = ReplaySimulator if drawn.real_ratings else Simulator
        return simulator(
            drawn,
            session,
            num_sessions,
            catalog_seed=catalog_seed,
            max_steps=self.max_episode_steps,
            num_threads=arguments["num_threads"],
            is_live=arguments["live_platform"],
        )

    def _start(self, lanes: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """Start sessions as `Simulator.start` does, and their recordings."""
        self.simulator.start(lanes, seeds)
        if self.render_mode in PICTURE_MODES:
            self.recordings.update((lane, SessionRecording(self.simulator, lane)) for lane in lanes.tolist())

    def _slate(self, action: Any) -> np.ndarray:
        """[1, S] int64: the slate of one action, as for `_slates`."""
        if self._is_index and isinstance(action, _WHOLE_NUMBERS) and type(action) is not bool:
            candidate = int(action)
            if 0 <= candidate < self.simulator.config.num_candidates:  # the common case, at a tenth of the cost
                self._single_slate[0, 0] = candidate
                return self._single_slate
        return self._slates(action, self._action_shape[1:])

    def _slates(self, actions: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """[N, S] int64: indices of candidates from a batch of actions; `ValueError` for an invalid batch.

        `shape` is that of the actions, by default with sessions first. An index may have one more dimension of 1.
        """
        num_sessions, session = len(self.simulator), self.simulator.config
        order = " (sessions first)" if shape is None else ""
        shape = self._action_shape if shape is None else shape
        shapes = (shape, (*shape, 1)) if self._is_index else (shape,)
        allowed = f"must be of shape {' or '.join(map(str, shapes))}{order}"
        try:
            values = np.asarray(actions)
        except ValueError:
            raise ValueError(f"action of uneven shape: {allowed}") from None
        if values.shape not in shapes:
            raise ValueError(f"action of shape {values.shape}: {allowed}")
        if self._action_kind != "candidate":
            if values.dtype.kind not in "fiu":
                raise ValueError(f"action of type {values.dtype}: must be numbers in [-1, 1]")
            is_invalid = ~((values >= -1.0) & (values <= 1.0))  # NaN included
            if is_invalid.any():
                raise ValueError(f"action={values[is_invalid].flat[0]}: must be a number in [-1, 1]")
            points = values.astype(np.float64).reshape(num_sessions, session.slate_size, -1)
            from_catalog = self._action_kind == "catalog"
            return (
                self.simulator.show_nearest_items(points) if from_catalog else self.simulator.nearest_candidates(points)
            )
        if values.dtype.kind not in "iu":
            raise ValueError(f"action of type {values.dtype}: must be whole numbers (indices of candidates)")
        last = session.num_candidates - 1
        if values.min() < 0 or values.max() > last:
            invalid = values[(values < 0) | (values > last)].flat[0]
            raise ValueError(f"action={invalid}: must be a candidate in [0, {last}]")
        return values.astype(np.int64, copy=False).reshape(num_sessions, session.slate_size)

    def _check_started(self) -> None:
        """`gymnasium.error.ResetNeeded` unless all sessions have been started."""
        if not self.simulator.has_started:
            raise gymnasium.error.ResetNeeded("no session has started: call reset()")

    def render_lane(self, lane: int) -> str | np.ndarray:
        """One session so far: a text without latent state, or a picture [H, W, 3] uint8 with latent state."""
        if self.render_mode == "ansi":
            return session_as_text(self.simulator, lane)
        from recsim_env.envs.session_figure import session_pixels  # here, as it imports Matplotlib

        return session_pixels(self.recordings[lane])

    def action_masks(self) -> np.ndarray:
        """[N, S * M] bool: which candidates exist, once for each slot (the layout of `sb3_contrib`)."""
        self._check_started()
        exists = np.asarray(self.simulator.sessions["candidates"]) != NO_ITEM
        return np.tile(exists, (1, self.simulator.config.slate_size))

    @property
    def catalog_features(self) -> np.ndarray:
        """[I, F] float32, read-only: content features of all items."""
        return read_only(self.simulator.world.items.features)

    @property
    def catalog_statistics(self) -> np.ndarray:
        """[A, I, 3] float32, read-only: background statistics at each refresh; see `relevance.REFRESH_AT`."""
        return read_only(self.simulator.world.item_statistics[:, :, : len(STATISTICS)])

    @property
    def catalog_release_steps(self) -> np.ndarray:
        """[I] int64, read-only: release of each item; its age is the platform's `time` minus this."""
        return read_only(self.simulator.world.item_records["release_step"])

    @property
    def catalog_creators(self) -> np.ndarray:
        """[I] int64, read-only: the creator of each item; 0 where there is only one."""
        return read_only(self.simulator.world.item_records["creator"])


def action_space(kind: str, slate_size: int, layout: ObservationLayout) -> spaces.Space[Any]:
    """Space of one session's actions of one of `ACTION_KINDS`: `Discrete(M)`; `MultiDiscrete([M] * S)` for slates of
    S > 1 candidates; for points in content space a `Box` of shape (S * F,) in [-1, 1]."""
    if kind != "candidate":
        return spaces.Box(-1.0, 1.0, (slate_size * layout.num_content_features,), np.float32)
    if slate_size == 1:
        return spaces.Discrete(layout.num_candidates)
    return spaces.MultiDiscrete(np.full(slate_size, layout.num_candidates))


def _for_json(value: Any) -> Any:
    """Arguments of an env as JSON has them, where it can: paths, NumPy numbers and enums."""
    if isinstance(value, Mapping):
        return {name: _for_json(part) for name, part in value.items()}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def session_seeds(seeds: list[int], options: dict[str, Any] | None) -> np.ndarray:
    """[n, 3] uint64: seeds of the world, user and noise keys. An option replaces one of them in every session
    (counting up from one session to the next)."""
    columns = []
    for name in SEED_OPTIONS:
        start = (options or {}).get(name)
        chosen = seeds if start is None else [int(start) + lane for lane in range(len(seeds))]
        columns.append([seed % 2**64 for seed in chosen])
    return np.array(columns, np.uint64).T


def check_options(options: dict[str, Any] | None, allowed: tuple[str, ...] = SEED_OPTIONS) -> None:
    """`ValueError` for unknown reset options, and for seeds that are not whole numbers of at least 0."""
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise ValueError(f"options={options!r}: must be a dict")
    for name, value in options.items():
        if name not in allowed:
            raise ValueError(f"options[{name!r}]: {unknown_name(name, allowed)}")
        if name in SEED_OPTIONS:
            checked_seed(f"options[{name!r}]", value)


def check_argument_names(given: Iterable[str], known: Iterable[str]) -> None:
    """`TypeError` with the nearest name if one of the arguments is unknown."""
    for name in given:
        if name in VECTOR_ARGUMENTS and name not in known:
            raise TypeError(f"argument {name!r}: unknown here; it belongs to gymnasium.make_vec")
        if name not in known:
            raise TypeError(f"argument {name!r}: {unknown_name(name, known)}")


def checked_seed(name: str, seed: Any) -> int:
    """The seed as a Python integer; `ValueError` unless it is a whole number of at least 0, of any size."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"{name}={seed!r}: must be a whole number of at least 0")
    return int(seed)


def read_only(array: np.ndarray) -> np.ndarray:
    """A read-only view. (Compiled code is called with the array itself: Numba dispatches read-only arrays ten times
    as slowly.)"""
    view = array.view()
    view.flags.writeable = False
    return view
