"""Stable-Baselines3's PPO, A2C and DQN behind the protocol."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents.agent import Learner, NothingLearntError, Observations
from agents.candidate_policy import CANDIDATE_POLICIES
from agents.milestones import Milestones
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
        device: where the networks compute: "cpu", "cuda".
        settings: keyword arguments of the algorithm's constructor.
    """

    def __init__(
        self,
        algorithm: str,
        policy: str = "candidate",
        num_envs: int = 64,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm={algorithm!r}: must be one of {', '.join(ALGORITHMS)}")
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r}: must be one of {', '.join(POLICIES)}")
        self.algorithm, self.policy, self.num_envs, self.settings = algorithm, policy, num_envs, settings
        self.device = device
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
            policy, env, seed=seed, device=self.device, policy_kwargs=policy_settings, **self.settings
        )
        milestones = Milestones(report, report_every, num_steps)
        milestones.begin()
        self._model.learn(num_steps, callback=_Reports(milestones))
        env.close()
        milestones.end(self._model.num_timesteps)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        if self._model is None:
            raise NothingLearntError
        return self._model.predict(observations, deterministic=True)[0]

    def save(self, path: Path) -> None:
        if self._model is None:
            raise NothingLearntError
        content = io.BytesIO()
        self._model.save(content)
        write_atomically(Path(path), content.getvalue())

    def load(self, path: Path) -> None:
        """Read a model of one's own: an SB3 file can run code when it is loaded, so never load a stranger's."""
        self._model = ALGORITHMS[self.algorithm].load(path, device=self.device)


class _Reports(BaseCallback):
    def __init__(self, milestones: Milestones) -> None:
        super().__init__()
        self._milestones = milestones

    def _on_step(self) -> bool:
        self._milestones.reach(self.num_timesteps)
        return True
