"""Stable-Baselines3's PPO, A2C and DQN behind the protocol."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents.agent import Learner, Observations
from agents.candidate_policy import CANDIDATE_POLICIES
from recsim_env.atomic_file import write_atomically
from recsim_env.sb3_vec_env import make_sb3_vec_env

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"PPO": PPO, "A2C": A2C, "DQN": DQN}

POLICIES = ("candidate", "MultiInputPolicy", "MlpPolicy")
"""`candidate` is ours (`agents.candidate_policy`); the other two are SB3's own, over flattened candidates."""


class SB3Learner(Learner):
    """An SB3 algorithm with a candidate-wise policy, or with one of SB3's own.

    Args:
        algorithm: a name in `ALGORITHMS`.
        policy: one of `POLICIES`; `MlpPolicy` sees flat observations, the others dicts.
        num_envs: sessions that run side by side while learning.
        settings: keyword arguments of the algorithm's constructor.
    """

    def __init__(self, algorithm: str, policy: str = "candidate", num_envs: int = 64, **settings: Any) -> None:
        if algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm={algorithm!r}: must be one of {', '.join(ALGORITHMS)}")
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r}: must be one of {', '.join(POLICIES)}")
        self.algorithm, self.policy, self.num_envs, self.settings = algorithm, policy, num_envs, settings
        self.observation = "flat" if policy == "MlpPolicy" else "dict"
        self._model: BaseAlgorithm | None = None

    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        env = make_sb3_vec_env(env_id, self.num_envs, observation=self.observation, **env_options)
        policy: Any = self.policy
        policy_settings: dict[str, Any] = {}
        if self.policy == "candidate":
            policy = CANDIDATE_POLICIES[self.algorithm]
            policy_settings["num_content_features"] = env.vector_env.simulator.layout.num_content_features
        self._model = ALGORITHMS[self.algorithm](
            policy, env, seed=seed, device="cpu", policy_kwargs=policy_settings, **self.settings
        )
        self._model.learn(num_steps, callback=_Reports(report, report_every, num_steps) if report else None)
        env.close()
        if report:
            report(self._model.num_timesteps)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        if self._model is None:
            raise RuntimeError("this agent has not learnt anything yet: call learn() or load()")
        return self._model.predict(observations, deterministic=True)[0]

    def save(self, path: Path) -> None:
        if self._model is None:
            raise RuntimeError("this agent has not learnt anything yet: call learn() or load()")
        content = io.BytesIO()
        self._model.save(content)
        write_atomically(Path(path), content.getvalue())

    def load(self, path: Path) -> None:
        """Read a model of one's own: an SB3 file can run code when it is loaded, so never load a stranger's."""
        self._model = ALGORITHMS[self.algorithm].load(path, device="cpu")


class _Reports(BaseCallback):
    """Calls `report` at the start and each time another `every` steps are over, but not just before the end."""

    def __init__(self, report: Callable[[int], None], every: int, num_steps: int) -> None:
        super().__init__()
        self._report, self._every, self._next = report, every, every
        self._last = num_steps - every / 2

    def _on_training_start(self) -> None:
        self._report(0)

    def _on_step(self) -> bool:
        if self._every and self._next <= self.num_timesteps < self._last:
            self._next += self._every
            self._report(self.num_timesteps)
        return True
