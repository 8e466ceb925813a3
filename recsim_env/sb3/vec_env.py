"""The native vector env as a Stable-Baselines3 `VecEnv`."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvStepReturn

from recsim_env.envs.several_catalogs import SeveralCatalogs
from recsim_env.envs.spaces_and_actions import REWARD_INFO_KEYS, EnvArguments, check_argument_names, checked_seed
from recsim_env.envs.vector import RecommenderVectorEnv

_ENTRY_POINT = f"{RecommenderVectorEnv.__module__}:{RecommenderVectorEnv.__name__}"


class RecommenderSB3VecEnv(VecEnv):
    """A `RecommenderVectorEnv` (or `SeveralCatalogs`) with the interface of Stable-Baselines3, by `make_sb3_vec_env`.

    As with `Monitor`, the info of the last step has `"episode"`: the return `r`, the length `l` and the time `t`.

    Raises:
        ValueError: the vector env does not start sessions in the step in which the last ones end, as SB3 expects.
    """

    def __init__(self, vector_env: RecommenderVectorEnv | SeveralCatalogs) -> None:
        if vector_env.metadata["autoreset_mode"] != AutoresetMode.SAME_STEP:
            raise ValueError("vector_env: must have autoreset_mode='SameStep'")
        self.vector_env = vector_env
        self._actions: np.ndarray | None = None
        self._returns, self._lengths = np.zeros(vector_env.num_envs), np.zeros(vector_env.num_envs, np.int64)
        self._start_time = time.time()
        super().__init__(vector_env.num_envs, vector_env.single_observation_space, vector_env.single_action_space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed lane i with seed + i in the next `reset`; None draws a seed."""
        return super().seed(None if seed is None else checked_seed("seed", seed))

    def reset(self) -> Any:
        """Observations of new sessions, with the seeds and options set since the last reset."""
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        if any(options != self._options[0] for options in self._options):
            raise ValueError("set_options: lanes share one env, give one dict for all of them")
        observations, _ = self.vector_env.reset(seed=seeds, options=self._options[0] or None)
        self.reset_infos: list[dict[str, Any]] = [
            dict.fromkeys(REWARD_INFO_KEYS, np.float64(0.0)) for _ in range(self.num_envs)
        ]
        self._returns[:], self._lengths[:] = 0.0, 0
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, terminated, truncated, infos = self.vector_env.step(self._actions)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        terms = [infos[name] for name in REWARD_INFO_KEYS]
        if dones.any():
            terms = [term + infos["final_info"][name] for term, name in zip(terms, REWARD_INFO_KEYS, strict=True)]
        rows = zip(*terms, strict=True)
        lane_infos: list[dict[str, Any]] = [dict(zip(REWARD_INFO_KEYS, row, strict=True)) for row in rows]
        for lane, info in enumerate(lane_infos):
            info["TimeLimit.truncated"] = bool(truncated[lane] and not terminated[lane])
        for lane in np.flatnonzero(dones).tolist():
            lane_infos[lane]["terminal_observation"] = infos["final_obs"][lane]
            lane_infos[lane]["episode"] = {
                "r": float(self._returns[lane]),
                "l": int(self._lengths[lane]),
                "t": round(time.time() - self._start_time, 6),
            }
        self._returns[dones], self._lengths[dones] = 0.0, 0
        return observations, rewards.astype(np.float32), dones, lane_infos

    def close(self) -> None:
        self.vector_env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the vector env, once for each of the lanes; the spaces are those of one lane."""
        owner = self if attr_name in ("observation_space", "action_space") else self.vector_env
        return [getattr(owner, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the vector env, which all lanes share."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"set_attr({attr_name!r}): lanes share one env, set it for all of them")
        if not hasattr(self.vector_env, attr_name):
            raise AttributeError(f"set_attr({attr_name!r}): the vector env has no such attribute")
        setattr(self.vector_env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the vector env once; a result with a row per lane is distributed over the lanes."""
        lanes = list(self._get_indices(indices))
        result = getattr(self.vector_env, method_name)(*method_args, **method_kwargs)
        if isinstance(result, dict):
            return [{name: values[lane] for name, values in result.items()} for lane in lanes]
        is_per_lane = isinstance(result, np.ndarray | tuple | list) and len(result) == self.num_envs
        return [result[lane] if is_per_lane else result for lane in lanes]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """True for `Monitor`, whose info `"episode"` the lanes have."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture of lane 0, with `render_mode="rgb_array"`."""
        env: Any = self.vector_env
        picture = env.render_lane(0) if env.render_mode == "rgb_array" else None
        return [picture]

    def _get_indices(self, indices: VecEnvIndices) -> Iterable[int]:
        return range(self.num_envs) if indices is None else [indices] if isinstance(indices, int) else indices


def make_sb3_vec_env(
    env_id: str, num_envs: int = 1, *, seed: int | None = None, **arguments: Unpack[EnvArguments]
) -> RecommenderSB3VecEnv:
    """N sessions for Stable-Baselines3, which needs no further `make_vec_env` or `Monitor`.

    ```python
    env = make_sb3_vec_env("recsim_env/Video-v0", split="train")
    model = PPO("MultiInputPolicy", env)
    ```

    Args:
        env_id: such as `recsim_env/Video-v0`.
        num_envs: N.
        seed: seeds lane i with seed + i.
        arguments: those of `RecommenderEnv`.

    Raises:
        ValueError: the id is not one of this package's envs.
    """
    if gymnasium.spec(env_id).vector_entry_point not in (_ENTRY_POINT, RecommenderVectorEnv):
        raise ValueError(f"env_id={env_id!r}: must be an id of this package, such as 'recsim_env/Video-v0'")
    check_argument_names(arguments, ["num_envs", "seed", *EnvArguments.__annotations__])
    env = RecommenderSB3VecEnv(
        gymnasium.make_vec(  # type: ignore[arg-type]
            env_id,
            num_envs,
            vectorization_mode="vector_entry_point",
            autoreset_mode=AutoresetMode.SAME_STEP,
            **arguments,
        )
    )
    if seed is not None:
        env.seed(seed)
    return env
