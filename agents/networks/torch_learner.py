"""Base of learners with one PyTorch network: device, greedy actions, and their file.

Shape legend: N sessions side by side, M candidates.
"""

from abc import abstractmethod
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from agents.agent import Learner, NotFittedError, Observations
from agents.networks.device import device_named
from recsim_env.config import count
from recsim_env.sb3.candidate_scorer import ScorerSizes

Tensors = dict[str, torch.Tensor]
"""A batch of `"full"` observations."""


@dataclass(kw_only=True, eq=False, repr=False)
class TorchLearner(Learner):
    """A learner with one network, which shows the candidates with the highest scores."""

    sizes_class: ClassVar[type[ScorerSizes]] = ScorerSizes
    has_layer_norm: ClassVar[bool] = False

    width: int = count(64, 4, 65_536)
    """Of the network's embeddings, a multiple of 4."""
    device: str = "cpu"
    """Of the network: `cpu` or `cuda`."""
    _network: Any = field(default=None, init=False)

    def __post_init__(self, env: Any) -> None:
        device_named(self.device)  # refuses unknown ones
        super().__post_init__(env)

    @property
    def network(self) -> Any:
        """The network; `NotFittedError` before training."""
        if self._network is None:
            raise NotFittedError
        return self._network

    @abstractmethod
    def make_network(self, sizes: ScorerSizes) -> nn.Module:
        """A new network with random weights, which keeps its `sizes`."""

    @abstractmethod
    def scores(self, observations: Tensors) -> torch.Tensor:
        """[N, M]: greedy actions show the candidates with the highest scores."""

    def sizes(self) -> ScorerSizes:
        """The sizes of the network for observations of the agent's env."""
        return self.sizes_class.of(self.layout, width=self.width, has_layer_norm=self.has_layer_norm)

    def init_network(self) -> None:
        """Make the network with weights from the agent's seed; torch's global generator is left as it was."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self._network = self.make_network(self.sizes()).to(self.device)

    def start_training(self, total_timesteps: int) -> tuple[Any, Any, int]:
        """The env to learn in, its first observations, and a seed for generators; makes the network if there is none.

        A second training continues with the network, in sessions that no earlier training has seen.
        """
        env, seed = self.training_env(total_timesteps), self.seed + self.num_timesteps
        if self._network is None:
            self.init_network()
        return env, env.reset(seed=seed)[0], seed

    def tensors(self, observations: Observations) -> Tensors:
        """A batch of `"full"` observations on the device."""
        return {name: torch.as_tensor(part).to(self.device) for name, part in observations.items()}

    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        with torch.no_grad():
            scores = self.scores(self.tensors(observations))
        return self.top_candidates(scores.cpu().numpy(), observations["candidate_mask"])

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        weights = {name: weight.cpu().numpy() for name, weight in self.network.state_dict().items()}
        return weights, asdict(self.network.sizes)

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        self._network = self.make_network(self.sizes_class(**learned)).to(self.device)
        self.network.load_state_dict({name: torch.as_tensor(weight) for name, weight in tensors.items()})
