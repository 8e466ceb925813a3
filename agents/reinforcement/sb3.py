"""Stable-Baselines3's algorithms behind the protocol: PPO, A2C and DQN show one of the candidates, SAC, TD3 and DDPG
the candidate nearest to a point in content space."""

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from agents.agent import Learner, NotFittedError, Observations
from agents.callbacks import Milestones
from agents.reinforcement.content_policies import CONTENT_POLICIES
from recsim_env.atomic_file import write_atomically
from recsim_env.envs.sb3 import make_sb3_vec_env
from recsim_env.envs.sb3.policies import CANDIDATE_POLICIES

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"PPO": PPO, "A2C": A2C, "DQN": DQN, "SAC": SAC, "TD3": TD3, "DDPG": DDPG}

POLICIES = ("candidate", "MultiInputPolicy", "MlpPolicy")
"""`candidate` is ours, with one scorer for all candidates (`recsim_env.envs.sb3.policies`, and `agents.reinforcement.content_policies` for
points in content space); the other two are SB3's own, over flattened candidates."""


class SB3Learner(Learner):
    """An SB3 algorithm with a candidate-wise policy, or with one of SB3's own.

    A session's length is fixed and the time that is over is in the observation, so truncation is an end like any
    other: nothing is bootstrapped beyond it, as nothing beyond it counts.

    Args:
        algorithm: a name in `ALGORITHMS`. SAC, TD3 and DDPG play `recsim_env/{scenario}Content-v0`.
        policy: one of `POLICIES`; `MlpPolicy` sees flat observations, the others dicts.
        num_envs: sessions that run side by side while learning.
        reward_scale: what rewards are multiplied by while learning. SB3 clips the gradients of policy and value
            together: with sums of stars the value's would leave nothing to the policy's.
        device: where the networks compute: "cpu", "cuda".
        settings: keyword arguments of the algorithm's constructor. `action_noise` may be a number: the standard
            deviation of normal noise on each content feature. `buffer_size` is by default the number of steps.
    """

    def __init__(
        self,
        algorithm: str,
        policy: str = "candidate",
        num_envs: int = 64,
        reward_scale: float = 0.03,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        if algorithm not in self.algorithms():
            raise ValueError(f"algorithm={algorithm!r}: must be one of {', '.join(self.algorithms())}")
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r}: must be one of {', '.join(POLICIES)}")
        self.algorithm, self.policy, self.num_envs, self.settings = algorithm, policy, num_envs, settings
        self.reward_scale, self.device = reward_scale, device
        self.observation = "flat" if policy == "MlpPolicy" else "dict"
        self.env_variant = "Content" if algorithm in CONTENT_POLICIES else ""
        self._model: Any = None

    @staticmethod
    def algorithms() -> dict[str, type[BaseAlgorithm]]:
        """Those that this class offers, by name."""
        return ALGORITHMS

    @staticmethod
    def candidate_policies() -> dict[str, type[BasePolicy]]:
        """The policy of ours for each of them."""
        return CANDIDATE_POLICIES | CONTENT_POLICIES

    def library_policy(self) -> str:
        """The name that the library itself gives to its policy."""
        return self.policy

    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        sessions = make_sb3_vec_env(env_id, self.num_envs, observation=self.observation, **env_options)
        env = _FixedHorizon(sessions, self.reward_scale)
        made = self.algorithms()[self.algorithm]
        settings = copy.deepcopy(self.settings)  # SB3 writes into what it is given
        if issubclass(made, OffPolicyAlgorithm):
            settings.setdefault("buffer_size", num_steps)  # SB3's own million would take gigabytes
        if isinstance(settings.get("action_noise"), int | float):
            scale = np.full(env.action_space.shape, settings["action_noise"])
            settings["action_noise"] = NormalActionNoise(np.zeros_like(scale), scale)
        policy = self.candidate_policies()[self.algorithm] if self.policy == "candidate" else self.library_policy()
        self._model = made(policy, env, seed=seed, device=self.device, **settings)
        self._model.set_logger(Logger(folder=None, output_formats=[]))  # SB3's own leaves a folder behind each time
        milestones = Milestones(report, report_every, num_steps)
        milestones.begin()
        self._model.learn(num_steps, callback=_Reports(milestones))
        env.close()
        milestones.end(self._model.num_timesteps)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        return self._learnt().predict(observations, deterministic=True)[0]

    def save(self, path: Path) -> None:
        content = io.BytesIO()
        self._learnt().save(content)
        write_atomically(Path(path), content.getvalue())

    def load(self, path: Path) -> None:
        """Read a model of one's own: an SB3 file can run code when it is loaded, so never load a stranger's.

        Raises:
            ValueError: the file is missing, damaged, or another algorithm's; one line that says which.
        """
        try:
            content = io.BytesIO(Path(path).read_bytes())
            self._model = self.algorithms()[self.algorithm].load(content, device=self.device)
        except Exception as error:  # SB3 raises whatever the wrong content happens to break
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: not a file of {self.algorithm} ({reason})") from None

    def _learnt(self) -> Any:
        if self._model is None:
            raise NotFittedError
        return self._model


class _FixedHorizon(VecEnvWrapper):
    """Scales rewards, and hides from SB3 that a session was truncated, so that it bootstraps nothing."""

    def __init__(self, env: VecEnv, reward_scale: float) -> None:
        super().__init__(env)
        self._scale = np.float32(reward_scale)

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            info["TimeLimit.truncated"] = False
        return observations, rewards * self._scale, dones, infos


class _Reports(BaseCallback):
    def __init__(self, milestones: Milestones) -> None:
        super().__init__()
        self._milestones = milestones

    def _on_step(self) -> bool:
        self._milestones.reach(self.num_timesteps)
        return True
