"""N sessions as a native `gymnasium.vector.VectorEnv`: the simulator with a batch of N.

Shape legend: N sessions (`num_envs`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Never, Self

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from recsim_env.config import Scenario, check_number
from recsim_env.envs.spaces_and_actions import (
    REWARD_INFO_KEYS,
    SEED_OPTIONS,
    VECTOR_ARGUMENTS,
    SimulatorAccess,
    check_options,
    checked_seed,
    session_seeds,
)
from recsim_env.simulation.custom_user_model import DEFAULT_USER_MODEL, UserModel
from recsim_env.simulation.observation import in_order
from recsim_env.simulation.records import REWARD_TERMS
from recsim_env.simulation.simulator import Simulator

_MASK_KEYS = tuple(f"_{name}" for name in REWARD_INFO_KEYS)


class RecommenderVectorEnv(SimulatorAccess, VectorEnv[Any, Any, Any]):
    """N sessions of `RecommenderEnv`, stepped together; lane i seeded s + i equals the single env seeded s + i.

    Arguments, spaces and rewards are those of `RecommenderEnv`. `autoreset_mode` is an `AutoresetMode` or its value:

    * `NEXT_STEP` (the default, as in Gymnasium): a session that ends is followed by the lane's next one in the next
      step, which ignores the lane's action and has a reward of 0.
    * `SAME_STEP`: the lane's next session starts in the same step. The returned observation is the first of the new
      session, `infos["final_obs"]` and `infos["final_info"]` hold the last of the old one, and `last_observations`
      merges them.
    * `DISABLED`: `reset(options={"reset_mask": ...})` starts the next sessions; until then, lanes have rewards of 0.

    `max_episode_steps` truncates sessions earlier than `session_length`. Every returned array is new. `num_threads`
    shares a step among threads; results do not depend on it.

    With `live_platform=True` the lanes are simultaneous users of one platform: they share a clock, and item statistics
    also grow with the feedback of all lanes. When no more items arrive, all sessions are truncated and the platform
    restarts, as it does after `reset(seed=...)`.

    ```python
    envs = gymnasium.make_vec("recsim_env/Video-v0", num_envs=1_000)
    ```
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 1,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | Scenario = "Video",
        *,
        observation: str = "dict",
        action: str = "candidate",
        slate_size: int | None = None,
        num_candidates: int | None = None,
        session_length: int | None = None,
        history_length: int | None = None,
        candidates: str | None = None,
        candidate_order: str | None = None,
        reward_scale: float | None = None,
        catalog_seed: int = 0,
        split: str = "all",
        user_split: str | None = None,
        world_seed: int = 0,
        structure_split: str = "all",
        world: str | Path | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        user_model: UserModel = DEFAULT_USER_MODEL,
        live_platform: bool = False,
        num_threads: int = 1,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **unknown: Never,
    ) -> None:
        if max_episode_steps is not None:
            check_number("max_episode_steps", max_episode_steps, 1, 2**62, int)
        self.max_episode_steps, self.autoreset_mode = max_episode_steps, _autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = self._set_up(num_envs, locals())
        self.num_envs = num_envs
        batch: Any = batch_space(self.single_observation_space, num_envs)
        if isinstance(self.single_observation_space, spaces.Dict):  # as older versions of Gymnasium sort the keys
            batch = in_order({name: batch[name] for name in self.single_observation_space})
        self.observation_space = batch
        self.action_space = batch_space(self.single_action_space, num_envs)

    def remake(self, **arguments: Any) -> "RecommenderVectorEnv":
        """A new env with the arguments of this one, except for the given ones: `env.remake(catalog_seed=7)`."""
        own = {name: getattr(self, name) for name in VECTOR_ARGUMENTS}
        return RecommenderVectorEnv(**{**own, **self.arguments, **arguments})

    @property
    def simulators(self) -> tuple[Simulator, ...]:
        """The simulator, as the only one; see `SeveralCatalogs`."""
        return (self.simulator,)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start N sessions; an integer s seeds lane i with s + i. Without a seed: the next episode of each lane.

        A sequence has a seed for each lane, or None for a random one.

        `options`: `candidate_seed`, `user_seed`, `noise_seed` as for the single env (counting up over the lanes);
        `reset_mask` [N] bool restarts only those lanes.
        """
        check_options(options, (*SEED_OPTIONS, "reset_mask"))
        lanes = self._lanes((options or {}).get("reset_mask"))
        lane_seeds: list[int] | None
        if isinstance(seed, list | tuple | range) or (isinstance(seed, np.ndarray) and seed.ndim == 1):
            lane_seeds = self._seeds_of_lanes(seed)
        else:
            seed = None if seed is None else checked_seed("seed", seed)
            super().reset(seed=seed)
            has_seed_option = any(name in SEED_OPTIONS for name in options or {})
            if seed is None and (has_seed_option or not self.simulator.has_started):
                seed = int(self.np_random.integers(2**62))
            lane_seeds = None if seed is None else [seed + lane for lane in range(self.num_envs)]
        if lane_seeds is None:
            self._start(lanes)
        else:
            self._start(lanes, session_seeds(lane_seeds, options)[lanes])
        is_reset = np.isin(np.arange(self.num_envs), lanes)
        infos = _batched_infos(np.zeros((len(REWARD_TERMS), self.num_envs)), is_reset)
        return self.simulator.observe(self.observation_kind), infos

    def _seeds_of_lanes(self, seeds: Sequence[int | None]) -> list[int]:
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed: has {len(seeds)} entries, must have one for each of {self.num_envs} lanes")
        return [
            int(self.np_random.integers(2**62)) if seed is None else checked_seed(f"seed[{lane}]", seed)
            for lane, seed in enumerate(seeds)
        ]

    def _lanes(self, reset_mask: np.ndarray | None) -> np.ndarray:
        if reset_mask is None:
            return np.arange(self.num_envs)
        mask = np.asarray(reset_mask)
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"options['reset_mask']: must be {self.num_envs} booleans, at least one of them True")
        if (self.simulator.sessions["episode"][~mask] < 0).any():
            raise gymnasium.error.ResetNeeded("options['reset_mask']: no session has started in the other lanes")
        return np.flatnonzero(mask)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Show an item or a slate in each session; `ValueError` for an action outside the action space."""
        self._check_started()
        slates = self._slates(actions)
        was_over = np.array(self.simulator.is_over)
        outcomes = self.simulator.step(slates)
        rewards = outcomes["reward"] * self.simulator.config.reward_scale
        terminated, truncated = np.array(outcomes["terminated"]), np.array(outcomes["truncated"])
        terms = np.ascontiguousarray(self.simulator.reward_terms.T)
        for lane in self.recordings:
            if not was_over[lane]:
                self.recordings[lane].record()
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = self._start_next_sessions(terms, terminated | truncated)
        else:
            infos = _batched_infos(terms, np.ones(self.num_envs, bool))
            if self.autoreset_mode == AutoresetMode.NEXT_STEP and was_over.any():
                self._start(np.flatnonzero(was_over))
        return self.simulator.observe(self.observation_kind), rewards, terminated, truncated, infos

    def _start_next_sessions(self, terms: np.ndarray, is_over: np.ndarray) -> dict[str, Any]:
        """For `SAME_STEP`: start the next session where one is over, and return the batched infos."""
        infos = _batched_infos(terms * ~is_over, np.ones(self.num_envs, bool))
        if is_over.any():
            lanes = np.flatnonzero(is_over)
            infos["final_info"], infos["_final_info"] = _batched_infos(terms * is_over, is_over), is_over
            infos["final_obs"], infos["_final_obs"] = self._last_observations(lanes), is_over
            self._start(lanes)
        return infos

    def _last_observations(self, lanes: np.ndarray) -> np.ndarray:
        """[N] objects: the last observation of each session that ended, None for the others."""
        last = self.simulator.observe(self.observation_kind, lanes)
        observations = np.full(self.num_envs, None, dtype=object)
        if isinstance(last, dict):  # rows by iteration: indexing takes twice as long
            rows = zip(*(list(values) for values in last.values()), strict=True)
            observations[lanes] = [dict(zip(last, row, strict=True)) for row in rows]
        else:
            for lane, row in zip(lanes.tolist(), last, strict=True):
                observations[lane] = row
        return observations

    def shown_items(self, actions: Any) -> np.ndarray:
        """[N, S] int32: ids of the items that these actions would show, top slot first."""
        self._check_started()
        slates = self._slates(actions)
        return np.take_along_axis(np.asarray(self.simulator.sessions["candidates"]), slates, 1)

    def latent_state(self) -> dict[str, np.ndarray]:
        """Privileged: see `Simulator.latent_state`."""
        self._check_started()
        return self.simulator.latent_state()

    def render(self) -> Any:
        """The session of each lane so far: a tuple of texts, or of pictures [H, W, 3] uint8 with latent state.

        A picture takes some tenths of a second: draw few lanes, or one with `render_lane`.
        """
        if self.render_mode is None:
            gymnasium.logger.warn("render() needs a render mode: gymnasium.make_vec(..., render_mode='ansi')")
            return None
        self._check_started()
        return tuple(self.render_lane(lane) for lane in range(self.num_envs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads, if there are any."""
        if hasattr(self, "simulator"):  # old versions of Gymnasium also close envs whose construction failed
            self.simulator.close()


def _autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        modes = ", ".join(repr(each.value) for each in AutoresetMode)
        raise ValueError(f"autoreset_mode={mode!r}: must be an AutoresetMode, or one of {modes}") from None


def _batched_infos(terms: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Batched infos as in Gymnasium: each term [N] of the reward, with the mask of the lanes for which it is set."""
    return dict(zip(REWARD_INFO_KEYS, terms, strict=False)) | dict.fromkeys(_MASK_KEYS, mask)  # strict takes longer


def last_observations(observations: Any, infos: dict[str, Any], part: str | None = None) -> Any:
    """The observations after a step before any lane was reset: `final_obs` in lanes whose session ended.

    Args:
        observations: returned by `step`; not modified.
        infos: returned by the same `step`.
        part: a key of dict observations, to get that part alone.
    """
    if part is None and isinstance(observations, dict):
        return {name: last_observations(observations, infos, name) for name in observations}
    last = observations if part is None else observations[part]
    if "final_obs" in infos:
        last = last.copy()
        for lane in np.flatnonzero(infos["_final_obs"]):
            final = infos["final_obs"][lane]
            last[lane] = final if part is None else final[part]
    return last
