"""TRPO, RecurrentPPO, MaskablePPO and QR-DQN of sb3-contrib behind the protocol; it is needed only once one is made.

Shape legend: N sessions, M candidates, S slots of a slate.
"""

from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from agents.agent import Env, Observations
from agents.reinforcement.sb3 import SB3Learner


class SB3ContribLearner(SB3Learner):
    """An algorithm of sb3-contrib with a candidate-wise policy, or with one of its own.

    RecurrentPPO remembers a session from its first step on, beyond the history that is observed; `recommend` knows one
    observation only, so its memory is empty then.

    Args:
        algorithm: "TRPO", "RecurrentPPO", "MaskablePPO" or "QRDQN".
        policy: `candidate` is ours (`agents.reinforcement.sb3_contrib_policies`); "MultiInputPolicy" and "MlpPolicy" are the
            library's own, of RecurrentPPO those with an LSTM.
        num_envs: sessions that run side by side while learning.
        device: where the networks compute: "cpu", "cuda".
        settings: as for `SB3Learner`.

    Raises:
        ImportError: sb3-contrib is not installed.
    """

    @staticmethod
    def algorithms() -> dict[str, type[BaseAlgorithm]]:
        try:
            import sb3_contrib
        except ImportError:
            raise ImportError("SB3ContribLearner needs sb3-contrib: pip install 'sb3-contrib>=2.7'") from None
        names = ("TRPO", "RecurrentPPO", "MaskablePPO", "QRDQN")
        return {name: getattr(sb3_contrib, name) for name in names}

    @staticmethod
    def candidate_policies() -> dict[str, type[BasePolicy]]:
        from agents.reinforcement.sb3_contrib_policies import CONTRIB_POLICIES

        return CONTRIB_POLICIES

    def library_policy(self) -> str:
        return self.policy.replace("Policy", "LstmPolicy") if self.algorithm == "RecurrentPPO" else self.policy

    def begin(self, env: Env, seed: int = 0) -> None:
        super().begin(env, seed)
        self._memory: Any = None

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        model = self._learnt()
        if self.algorithm == "RecurrentPPO":
            actions, self._memory = model.predict(observations, self._memory, is_first, deterministic=True)
            return actions
        if self.algorithm == "MaskablePPO":
            masks = self._action_masks(observations)
            return model.predict(observations, deterministic=True, action_masks=masks)[0]
        return super().act(observations, is_first)

    def _action_masks(self, observations: Observations) -> np.ndarray:
        """[N, S * M] bool: which candidates are there, once for each slot."""
        is_dict = isinstance(observations, dict)
        mask = observations["candidate_mask"] if is_dict else observations[:, self.layout.slices["candidate_mask"]]
        return np.tile(mask > 0, (1, self.slate_size))
