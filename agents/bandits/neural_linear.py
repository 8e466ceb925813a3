"""Neural-linear Thompson sampling: a network says what matters of an item, Bayesian linear regression who likes it.

Riquelme, Tucker and Snoek, "Deep Bayesian bandits showdown", ICLR 2018. There one regression on the last layer serves
everybody; here each session has its own (`LinearBandit`), with an empirical-Bayes prior that says what people have in
common.

Shape legend: R logged answers, U features of the user, G features of a candidate, d features
that stars are linear in.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn

import recsim_env  # noqa: F401  (registers the ids)
from agents.agent import Agent, NotFittedError, Observations
from agents.bandits.empirical_bayes import EmpiricalBayes, shown_of
from agents.bandits.linear_posterior import LinearPrior
from agents.bandits.thompson import LinearThompson
from agents.callbacks import Milestones
from agents.rollouts.feedback import AnswerLog, rollout
from agents.rules.random_agent import RandomAgent
from agents.saved_tensors import load_tensors, save_tensors
from recsim_env.config import check_number
from recsim_env.envs.vector import RecommenderVectorEnv

_BATCH_SIZE = 512
_BLANK_SHARE = 0.1
"""Share of the training rows of which all but the content is blanked, as it is in a history."""


class StarsNetwork(nn.Module):
    """A user and what is known of an item to expected stars."""

    def __init__(self, *, user: int, item: int, width: int, last_width: int) -> None:
        super().__init__()
        self.sizes = {"user": user, "item": item, "width": width, "last_width": last_width}
        self.body = nn.Sequential(
            *(nn.Linear(user + item, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            *(nn.Linear(width, last_width), nn.ReLU()),
        )
        self.head = nn.Linear(last_width, 1)

    def last_layer(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """[..., last_width], not negative, from users [..., U] and what is known of items [..., item]."""
        return self.body(torch.cat([users, items], -1))

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return self.head(self.last_layer(users, items)).squeeze(-1)


class NeuralLinear(EmpiricalBayes, LinearThompson):
    """Thompson sampling under a posterior that is linear in a network's last layer and in what the network reads.

    It learns in rounds. At the end of each the network is trained on all answers so far, to predict the stars of a
    shown item from the user and from what `EmpiricalBayes` makes of the item (squared error); then the prior is fitted
    to the same answers. In the first rounds items are shown at random, then by its own Thompson sampling. The item's
    features stand beside the last layer, as what sets one person's taste apart may be nothing on average.

    Args:
        scale: of the posterior's standard deviation when it draws; 0 is greedy.
        num_rounds: of learning, equally long.
        random_share: share of the rounds in which items are shown at random; at least the first one.
        num_epochs: passes over the answers so far, at the end of each round.
        learning_rate: of AdamW (weight decay .01).
        width, last_width: of the network's hidden layers, and of its last one.
        num_envs: sessions that run side by side while learning.
        device: where the network computes: "cpu", "cuda".
        settings: further arguments of `EmpiricalBayes`.
    """

    def __init__(
        self,
        *,
        scale: float = 0.25,
        num_rounds: int = 4,
        random_share: float = 0.5,
        num_epochs: int = 8,
        learning_rate: float = 1e-3,
        width: int = 64,
        last_width: int = 8,
        num_envs: int = 256,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        super().__init__(scale=scale, num_envs=num_envs, **settings)
        check_number("random_share", random_share, 0.0, 1.0)
        check_number("learning_rate", learning_rate, 1e-9, 1.0)
        sizes = {"num_rounds": num_rounds, "num_epochs": num_epochs, "width": width, "last_width": last_width}
        for name, value in sizes.items():
            check_number(name, value, 1, 10_000, int)
        self.num_rounds, self.random_share, self.num_epochs = num_rounds, random_share, num_epochs
        self.learning_rate, self.width, self.last_width = learning_rate, width, last_width
        self.device = torch.device(device)
        self.network: StarsNetwork | None = None

    @property
    def num_features(self) -> int:
        return self.last_width + super().num_features

    def features(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N, K, d] float64: the last layer beside `EmpiricalBayes.features`."""
        assert self.network is not None
        known = super().features(users, items)
        repeated = np.broadcast_to(users[:, None], (*items.shape[:2], users.shape[1]))
        with torch.no_grad():
            last = self.network.last_layer(self._tensor(repeated), self._tensor(known)).cpu().numpy()
        return np.concatenate([last, known], 2)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.array(array, np.float32)).to(self.device)

    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        num_envs = min(self.num_envs, num_steps)
        env: Any = gymnasium.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **env_options)
        self.layout = layout = env.simulator.layout
        with torch.random.fork_rng():  # layers draw from torch's own generator, which is left as it was
            torch.manual_seed(seed)
            num_known = super().num_features
            self.network = StarsNetwork(
                user=layout.user_size, item=num_known, width=self.width, last_width=self.last_width
            ).to(self.device)
        self.prior = LinearPrior.isotropic(self.num_features, self.ridge)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.learning_rate)
        generator = torch.Generator().manual_seed(seed)
        log = AnswerLog(has_purchases=layout.has_purchases, max_answers=self.max_answers)
        milestones = Milestones(report, report_every, num_steps)
        milestones.begin()

        player = _Player(RandomAgent(), env, seed)
        num_rows, num_rounds_over = num_steps // num_envs, 0
        for step, exposure in enumerate(rollout(env, player.act, num_steps, seed), start=1):
            users, items = shown_of(exposure.observations, exposure.slates, layout.candidates_shape)
            log.add(exposure, users=users, items=items)
            if step * self.num_rounds // num_rows > num_rounds_over:
                num_rounds_over = step * self.num_rounds // num_rows
                self._train(optimizer, log, generator)
                self.prior = self.fitted_prior(log, num_iterations=30)
                if num_rounds_over >= self.random_share * self.num_rounds:
                    player.hand_over_to(copy.copy(self), env, seed + num_rounds_over)
            milestones.reach(step * num_envs)
        milestones.end(num_rows * num_envs)

    def _train(self, optimizer: torch.optim.Optimizer, log: AnswerLog, generator: torch.Generator) -> None:
        """Some epochs of squared error on all rows of the log: `stars`, `users` [R, U] and `items` [R, G]."""
        assert self.network is not None
        items, content_only = log["items"], log["items"].copy()
        content_only[:, self.layout.num_content_features :] = 0.0
        known, little_known = (
            self._tensor(EmpiricalBayes.features(self, log["users"], each[:, None])[:, 0])
            for each in (items, content_only)
        )
        users, stars = self._tensor(log["users"]), self._tensor(log["stars"])
        for _ in range(self.num_epochs):
            order = torch.randperm(len(stars), generator=generator)
            is_blank = (torch.rand(len(stars), 1, generator=generator) < _BLANK_SHARE).to(self.device)
            for rows in order.split(_BATCH_SIZE):
                seen = torch.where(is_blank[rows], little_known[rows], known[rows])
                loss = (self.network(users[rows], seen) - stars[rows]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def save(self, path: Path) -> None:
        if self.network is None or self.prior is None:
            raise NotFittedError
        weights = {f"network.{name}": weight.cpu().numpy() for name, weight in self.network.state_dict().items()}
        settings = {"sizes": self.network.sizes, "prior_impressions": self.prior_impressions}
        save_tensors(path, type(self).__name__, {**weights, **self.prior.tensors()}, settings)

    def load(self, path: Path) -> None:
        tensors, settings = load_tensors(path, type(self).__name__)
        network = StarsNetwork(**settings["sizes"]).to(self.device)
        weights = {name.removeprefix("network."): each for name, each in tensors.items() if name.startswith("network.")}
        network.load_state_dict({name: torch.as_tensor(weight) for name, weight in weights.items()})
        self.network, self.prior = network, LinearPrior.of_tensors(tensors)
        self.width, self.last_width = network.sizes["width"], network.sizes["last_width"]
        self.prior_impressions = settings["prior_impressions"]


class _Player:
    """Acts while its owner learns; another agent can take over in the middle of sessions, all of them new to it."""

    def __init__(self, agent: Agent, env: RecommenderVectorEnv, seed: int) -> None:
        self.hand_over_to(agent, env, seed)

    def hand_over_to(self, agent: Agent, env: RecommenderVectorEnv, seed: int) -> None:
        agent.begin(env, seed)
        self._agent, self._is_new = agent, True

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        actions = self._agent.act(observations, is_first | self._is_new)
        self._is_new = False
        return actions
