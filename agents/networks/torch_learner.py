"""What learners that train a network of their own share: the device, greedy play, and their file.

Shape legend: N sessions side by side, M candidates.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn

import recsim_env  # noqa: F401  (registers the ids)
from agents.agent import Learner, NotFittedError, Observations
from agents.saved_tensors import load_tensors, save_tensors
from recsim_env.envs.sb3.candidate_scorer import ScorerSizes
from recsim_env.envs.vector import RecommenderVectorEnv


class TorchLearner(Learner):
    """A learner with one network, which plays the candidates that the network scores highest.

    Args:
        num_envs: sessions that run side by side while learning.
        width: of the network's embeddings.
        device: where the network computes: "cpu", "cuda".
    """

    has_layer_norm = False

    def __init__(self, *, num_envs: int = 64, width: int = 64, device: str = "cpu") -> None:
        self.num_envs, self.width, self.device = num_envs, width, torch.device(device)
        self.network: nn.Module | None = None

    @abstractmethod
    def make_network(self, sizes: ScorerSizes) -> nn.Module:
        """A new network, its weights drawn by torch's generator."""

    @abstractmethod
    def scores(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """[N, M]: what the agent ranks candidates by when it does not explore."""

    def start_learning(self, env_id: str, env_options: dict[str, Any], seed: int) -> RecommenderVectorEnv:
        """The env to learn in, and a new network with weights from `seed`."""
        env: Any = gymnasium.make_vec(
            env_id, self.num_envs, vectorization_mode="vector_entry_point", observation=self.observation, **env_options
        )
        sizes = ScorerSizes.of(env.simulator.layout, width=self.width, has_layer_norm=self.has_layer_norm)
        with torch.random.fork_rng():  # layers draw from torch's own generator, which is left as it was
            torch.manual_seed(seed)
            self.network = self.make_network(sizes).to(self.device)
        return env

    def tensors(self, observations: Observations) -> dict[str, torch.Tensor]:
        """A batch of `"dict"` observations on the device."""
        return {name: torch.as_tensor(part).to(self.device) for name, part in observations.items()}

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        if self.network is None:
            raise NotFittedError
        with torch.no_grad():
            scores = self.scores(self.tensors(observations))
        return self.best(scores.cpu().numpy(), observations["candidate_mask"])

    def save(self, path: Path) -> None:
        if self.network is None:
            raise NotFittedError
        weights = {name: weight.cpu().numpy() for name, weight in self.network.state_dict().items()}
        sizes: ScorerSizes = self.network.sizes  # type: ignore[assignment]
        save_tensors(path, type(self).__name__, weights, sizes.as_settings())

    def load(self, path: Path) -> None:
        weights, settings = load_tensors(path, type(self).__name__)
        network = self.make_network(ScorerSizes(**settings)).to(self.device)
        network.load_state_dict({name: torch.as_tensor(weight) for name, weight in weights.items()})
        self.network = network
