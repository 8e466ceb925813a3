"""Many sessions as a native `gymnasium.vector.VectorEnv`: the simulator with a batch of N.

Shape legend: N sessions (`num_envs`).
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from recsim_env.config import Scenario
from recsim_env.envs.session_text import session_as_text
from recsim_env.envs.spaces_and_actions import REWARD_INFO_KEYS, REWARD_TERMS, SEED_OPTIONS, Adapter, BehindAdapter


class RecommenderVectorEnv(BehindAdapter, VectorEnv):
    """N sessions of `RecommenderEnv`, stepped together; lane i seeded s + i equals the single env seeded so.

    A session that ends is followed by the lane's next one in the same step (`AutoresetMode.SAME_STEP`): the returned
    observation is the new session's first, `infos["final_obs"]` and `infos["final_info"]` hold the old one's last.
    Every array is handed out fresh. `num_threads` shares a step among threads and changes no number.

    With `live_platform=True` the lanes are simultaneous visitors of one platform: the one mode in which they are not
    independent. They share a clock, and item statistics grow by what all of them answer, session after session. When
    no more items arrive, all sessions are truncated and the platform begins anew, as it does after `reset(seed=...)`.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | Scenario = "Video",
        *,
        render_mode: str | None = None,
        **options: Any,
    ):
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode={render_mode!r}: must be None or 'ansi'")
        self._adapter = Adapter(num_envs, scenario=scenario, **options)
        self._arguments = {"num_envs": num_envs, "scenario": scenario, "render_mode": render_mode, **options}
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.single_observation_space = self._adapter.observation_space
        self.single_action_space = self._adapter.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def remake(self, **arguments: Any) -> "RecommenderVectorEnv":
        """A new env with this one's arguments, except for those given: `env.remake(catalog_seed=7, num_envs=1)`."""
        return RecommenderVectorEnv(**{**self._arguments, **arguments})

    def reset(  # type: ignore[override]
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ):
        """Begin N sessions; a whole number s seeds lane i with s + i. Without a seed: each lane's next episode.

        `options`: `world_seed`, `user_seed`, `noise_seed` as for the single env (counting up over the lanes);
        `reset_mask` [N] bool begins only those lanes.
        """
        self._adapter.check_options(options, (*SEED_OPTIONS, "reset_mask"))
        lanes = self._lanes((options or {}).get("reset_mask"))
        lane_seeds: list[int] | None
        if seed is not None and not isinstance(seed, int | np.integer):
            lane_seeds = self._checked_seeds(seed)
        else:
            super().reset(seed=None if seed is None else int(seed))
            has_seed_option = any(name in SEED_OPTIONS for name in options or {})
            if seed is None and (has_seed_option or not self.simulator.has_started):
                seed = int(self.np_random.integers(2**62))
            lane_seeds = None if seed is None else [int(seed) + lane for lane in range(self.num_envs)]
        if lane_seeds is None:
            self.simulator.start(lanes)
        else:
            self.simulator.start(lanes, self._adapter.session_seeds(lane_seeds, options)[lanes])
        return self.simulator.observe(self._adapter.observation), {}

    def _checked_seeds(self, seeds: Sequence[int]) -> list[int]:
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed: has {len(seeds)} entries, must have one for each of {self.num_envs} lanes")
        for seed in seeds:
            if not isinstance(seed, int | np.integer) or seed < 0:
                raise ValueError(f"seed={seed!r}: must be a whole number of at least 0")
        return [int(seed) for seed in seeds]

    def _lanes(self, reset_mask: np.ndarray | None) -> np.ndarray:
        if reset_mask is None:
            return np.arange(self.num_envs)
        mask = np.asarray(reset_mask)
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"options['reset_mask']: must be {self.num_envs} booleans, at least one of them true")
        if (self.simulator.episodes[~mask] < 0).any():
            raise gymnasium.error.ResetNeeded("options['reset_mask']: no session has begun in the other lanes")
        return np.flatnonzero(mask)

    def step(self, actions: Any):
        """Show each session its item or slate; `ValueError` for an action outside the action space."""
        if not self.simulator.has_started:
            raise gymnasium.error.ResetNeeded("no session has begun: call reset()")
        outcomes = self.simulator.step(self._adapter.slates(actions))
        rewards = np.array(outcomes["reward"])
        terminated, truncated = np.array(outcomes["terminated"]), np.array(outcomes["truncated"])
        is_over = terminated | truncated
        terms = {key: np.array(outcomes[term]) for key, term in zip(REWARD_INFO_KEYS, REWARD_TERMS, strict=True)}
        infos = _with_masks(terms, ~is_over)
        if is_over.any():
            lanes = np.flatnonzero(is_over)
            final = {key: np.zeros(self.num_envs) for key in REWARD_INFO_KEYS}
            for key in REWARD_INFO_KEYS:
                final[key][lanes] = terms[key][lanes]
                terms[key][lanes] = 0.0
            infos["final_info"] = _with_masks(final, is_over)
            infos["_final_info"] = is_over.copy()
            infos["final_obs"] = self._final_observations(lanes)
            infos["_final_obs"] = is_over
            self.simulator.start(lanes)
        return self.simulator.observe(self._adapter.observation), rewards, terminated, truncated, infos

    def _final_observations(self, lanes: np.ndarray) -> np.ndarray:
        """[N] objects: the last observation of each lane that has ended, None for the others."""
        last = self.simulator.observe(self._adapter.observation, lanes)
        observations = np.full(self.num_envs, None, dtype=object)
        if isinstance(last, dict):  # rows by iteration: indexing each takes twice as long
            rows = zip(*(list(values) for values in last.values()), strict=True)
            observations[lanes] = [dict(zip(last, row, strict=True)) for row in rows]
        else:
            for lane, row in zip(lanes.tolist(), last, strict=True):
                observations[lane] = row
        return observations

    def action_masks(self) -> np.ndarray:
        """[N, S * M] bool: which candidates are there, once for each slot."""
        return self._adapter.action_masks()

    def shown_items(self, actions: Any) -> np.ndarray:
        """[N, S] int32: ids of the items that these actions would show now, top slot first."""
        slates = self._adapter.slates(actions)
        return np.take_along_axis(np.asarray(self.simulator.sessions["candidates"]), slates, 1)

    def latent_state(self) -> dict[str, np.ndarray]:
        """Privileged: see `Simulator.latent_state`."""
        return self.simulator.latent_state()

    def render(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """With `render_mode="ansi"` each session so far, in words."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() needs a render mode: gymnasium.make_vec(..., render_mode='ansi')")
            return None
        return tuple(session_as_text(self.simulator, lane) for lane in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        self.simulator.close()


def _with_masks(terms: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, Any]:
    """Gymnasium's form of batched infos: each array beside a mask of the lanes in which it counts."""
    infos: dict[str, Any] = dict(terms)
    infos.update({f"_{name}": mask.copy() for name in terms})
    return infos


def last_observations(observations: Any, infos: dict[str, Any], part: str | None = None) -> Any:
    """The observations right after a step, in lanes that have gone on to their next session those of the old one.

    Args:
        observations: [N, ...] as `step` returned them; left as they are.
        infos: of the same step.
        part: key of a dict observation, for that part alone.
    """
    if isinstance(observations, dict) and part is None:
        return {name: last_observations(observations, infos, name) for name in observations}
    batch = observations if part is None else observations[part]
    if "final_obs" not in infos:
        return batch
    batch = batch.copy()
    for lane in np.flatnonzero(infos["_final_obs"]):
        final = infos["final_obs"][lane]
        batch[lane] = final if part is None else final[part]
    return batch
