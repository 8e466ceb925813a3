"""Neural-linear Thompson sampling: Bayesian linear regression on features that a network has learned.

Riquelme, Tucker and Snoek, "Deep Bayesian bandits showdown", ICLR 2018. There one regression on the last layer serves
all users; here each session has its own (`LinearBandit`), with an empirical-Bayes prior of what users share.

Shape legend: R logged items, U features of the user, G features of a candidate, d features of the regression.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from agents.agent import NotFittedError, Observations
from agents.bandits.empirical_bayes import EmpiricalBayes
from agents.bandits.linear_bandits import LinearPrior, LinearThompson, PosteriorState
from agents.networks.device import device_named
from agents.rollouts.feedback import FeedbackLog, Policy, rollout, uniform_policy
from recsim_env.config import count, number

_BATCH_SIZE = 512
_MASKED_SHARE = 0.1
"""Share of the training rows that keep the item's content only, as in a history."""


class RewardNetwork(nn.Module):
    """Features of users and items to expected rewards."""

    def __init__(self, *, user: int, item: int, width: int, last_width: int) -> None:
        super().__init__()
        self.sizes = {"user": user, "item": item, "width": width, "last_width": last_width}
        self.body = nn.Sequential(
            *(nn.Linear(user + item, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            *(nn.Linear(width, last_width), nn.ReLU()),
        )
        self.head = nn.Linear(last_width, 1)

    def last_layer(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """[..., last_width], not negative, from users [..., U] and items [..., item]."""
        return self.body(torch.cat([users, items], -1))

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return self.head(self.last_layer(users, items)).squeeze(-1)


@dataclass(kw_only=True, eq=False, repr=False)
class NeuralLinear(EmpiricalBayes, LinearThompson):
    """Thompson sampling under a posterior that is linear in a network's last layer and in the network's input.

    Training takes place in rounds. At the end of each, the network is fitted to all feedback so far: it predicts the
    reward of a shown item from the user and from `EmpiricalBayes.features` of the item (squared error). Then the prior
    is fitted to the same feedback. Items are shown at random in the first rounds, by Thompson sampling in the others.
    The item's features stand beside the last layer because features that distinguish users may average out in it.
    """

    num_envs = 256

    scale: float = number(0.25, 0.0, 1e9)
    """As in `LinearThompson`."""
    num_rounds: int = count(4, 1, 10_000)
    """Rounds of training, equally long."""
    random_share: float = number(0.5, 0.0, 1.0)
    """Share of the rounds in which items are shown at random; at least the first one."""
    num_epochs: int = count(8, 1, 10_000)
    """Epochs over the feedback so far, at the end of each round."""
    learning_rate: float = number(1e-3, 1e-9, 1.0)
    """Of AdamW (weight decay 0.01)."""
    width: int = count(64, 1, 10_000)
    """Of the network's hidden layers."""
    last_width: int = count(8, 1, 10_000)
    """Of the network's last layer."""
    device: str = "cpu"
    """Of the network: `cpu` or `cuda`."""
    network: RewardNetwork | None = field(default=None, init=False)
    """None before training."""

    def __post_init__(self, env: Any) -> None:
        device_named(self.device)  # refuses unknown ones
        super().__post_init__(env)

    @property
    def num_features(self) -> int:
        return self.last_width + super().num_features

    def features(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N, K, d] float64: the last layer beside `EmpiricalBayes.features`."""
        assert self.network is not None
        inputs = super().features(users, items)
        repeated = np.broadcast_to(users[:, None], (*items.shape[:2], users.shape[1]))
        with torch.no_grad():
            last = self.network.last_layer(self._tensor(repeated), self._tensor(inputs)).cpu().numpy()
        return np.concatenate([last, inputs], 2)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.array(array, np.float32)).to(self.device)

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        env, seed, layout = self.training_env(total_timesteps), self.seed + self.num_timesteps, self.layout
        if self.network is None:
            with torch.random.fork_rng():  # layers draw from torch's global generator, which is left as it was
                torch.manual_seed(seed)
                self.network = RewardNetwork(
                    user=layout.user_size, item=super().num_features, width=self.width, last_width=self.last_width
                ).to(self.device)
            self.parameters = LinearPrior.isotropic(self.num_features, self.ridge).tensors()
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.learning_rate)
        generator = torch.Generator().manual_seed(seed)
        log = self.open_log()
        update(0)
        policy = uniform_policy(self, seed)
        num_steps, num_rounds_over = total_timesteps // env.num_envs, 0
        # The lambda looks `policy` up in each step: it is replaced after each round.
        exposures = rollout(env, lambda *inputs: policy(*inputs), total_timesteps, seed)
        for step, exposure in enumerate(exposures, start=1):
            log.add(exposure, **self.columns(env, exposure))
            if step * self.num_rounds // num_steps > num_rounds_over:
                num_rounds_over = step * self.num_rounds // num_steps
                self._fit_network(optimizer, log, generator)
                self.parameters = self.fitted_prior(log, num_iterations=30).tensors()
                if num_rounds_over >= self.random_share * self.num_rounds:
                    policy = self._thompson_policy(env.num_envs, seed + num_rounds_over)
            if not update(step * env.num_envs):
                break

    def _thompson_policy(self, num_sessions: int, seed: int) -> Policy:
        """The agent's own policy; it takes up the sessions in which it is first called by their histories."""
        state: PosteriorState | None = None

        def policy(observations: Observations, episode_start: np.ndarray) -> np.ndarray:
            nonlocal state
            if state is None:
                state, episode_start = self.initial_state(num_sessions), np.ones(num_sessions, np.bool_)
                state.generator = np.random.default_rng(seed)
            return self.act(observations, state, episode_start, deterministic=False)

        return policy

    def _fit_network(self, optimizer: torch.optim.Optimizer, log: FeedbackLog, generator: torch.Generator) -> None:
        """Some epochs of squared error on all rows of the log: `reward`, `users` [R, U] and `items` [R, G]."""
        assert self.network is not None
        items, content_only = log["items"], log["items"].copy()
        content_only[:, self.layout.num_content_features :] = 0.0
        inputs, masked_inputs = (
            self._tensor(EmpiricalBayes.features(self, log["users"], each[:, None])[:, 0])
            for each in (items, content_only)
        )
        users, rewards = self._tensor(log["users"]), self._tensor(log["reward"])
        for _ in range(self.num_epochs):
            order = torch.randperm(len(rewards), generator=generator)
            is_masked = (torch.rand(len(rewards), 1, generator=generator) < _MASKED_SHARE).to(self.device)
            for rows in order.split(_BATCH_SIZE):
                batch = torch.where(is_masked[rows], masked_inputs[rows], inputs[rows])
                loss = (self.network(users[rows], batch) - rewards[rows]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if self.network is None:
            raise NotFittedError
        weights = {f"network.{name}": weight.cpu().numpy() for name, weight in self.network.state_dict().items()}
        return {**weights, **super().learned()[0]}, self.network.sizes

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        super().restore(tensors, learned)
        weights = {name: torch.as_tensor(each) for name, each in tensors.items() if name.startswith("network.")}
        self.network = RewardNetwork(**learned).to(self.device)
        self.network.load_state_dict({name.removeprefix("network."): each for name, each in weights.items()})
