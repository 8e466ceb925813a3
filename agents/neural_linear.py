"""Neural-linear Thompson sampling: a network says what matters of an item, Bayesian linear regression who likes it.

Riquelme, Tucker and Snoek, "Deep Bayesian bandits showdown", ICLR 2018. There one regression on the last layer serves
everybody; here each session has its own (`LinearBandit`), with an empirical-Bayes prior that says what people have in
common.

Shape legend: R logged answers, U features of the user, G = F + 6 features of a candidate, F of them content, d
features that stars are linear in.
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
from agents.agent import Learner, NothingLearntError, Observations
from agents.empirical_bayes import prior_of_log, shown_of
from agents.linear_posterior import LinearPrior, with_constant
from agents.linear_thompson import LinearThompson
from agents.logged_ratings import AnswerLog, rollout
from agents.milestones import Milestones
from agents.random_agent import RandomAgent
from agents.saved_tensors import load_tensors, save_tensors
from recsim_env.config import check_number
from recsim_env.vector_env import RecommenderVectorEnv

_BATCH_SIZE = 512
WD=.01
_BLANK_SHARE = 0.1
"""Share of the training rows of which all but the content is blanked, as it is in a history."""


class StarsNetwork(nn.Module):
    """Users [B, U] and items [B, G] to expected stars [B]; what its last layer sees is what `NeuralLinear` builds on."""

    def __init__(self, *, user: int, item: int, width: int, last_width: int) -> None:
        super().__init__()
        self.sizes = {"user": user, "item": item, "width": width, "last_width": last_width}
        self.body = nn.Sequential(
            *(nn.Linear(user + item, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            *(nn.Linear(width, last_width), nn.ReLU()),
        )
        self.head = nn.Linear(last_width, 1)

    def last_layer(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """[..., last_width], from users [..., U] and items [..., G]."""
        return self.body(torch.cat([users, items], -1))

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return self.head(self.last_layer(users, items)).squeeze(-1)


class NeuralLinear(LinearThompson, Learner):
    """Thompson sampling under a posterior that is linear in a network's last layer and in the content.

    It learns in rounds. At the end of each the network is trained on all answers so far, to predict the stars of a
    shown item from its content, its statistics and the user's profile (squared error); then the prior is fitted to the
    same answers (`fit_prior`). In the first rounds items are shown at random, then by its own Thompson sampling. The
    content stands beside the last layer, as what sets one person's taste apart may be nothing on average.

    Args:
        scale: of the posterior's standard deviation when it draws; 0 is greedy.
        num_rounds: of learning, equally long.
        random_share: share of the rounds in which items are shown at random; at least the first one.
        num_epochs: passes over the answers so far, at the end of each round.
        learning_rate: of Adam.
        width, last_width: of the network's hidden layers, and of its last one.
        num_envs: sessions that run side by side while learning.
        max_answers: only the latest so many answers are kept.
        device: where the network computes: "cpu", "cuda".
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
        last_width: int = 16,
        num_envs: int = 256,
        max_answers: int = 200_000,
        device: str = "cpu",
    ) -> None:
        super().__init__(scale=scale)
        check_number("random_share", random_share, 0.0, 1.0)
        check_number("learning_rate", learning_rate, 1e-9, 1.0)
        sizes = {"num_rounds": num_rounds, "num_epochs": num_epochs, "width": width, "last_width": last_width}
        for name, value in {**sizes, "num_envs": num_envs, "max_answers": max_answers}.items():
            check_number(name, value, 1, 10**9, int)
        self.num_rounds, self.random_share, self.num_epochs = num_rounds, random_share, num_epochs
        self.learning_rate, self.width, self.last_width = learning_rate, width, last_width
        self.num_envs, self.max_answers, self.device = num_envs, max_answers, torch.device(device)
        self.network: StarsNetwork | None = None

    @property
    def num_features(self) -> int:
        return self.last_width + self.layout.num_content_features + 1

    def features(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N, K, d] float64: the last layer, the content and a constant; see `LinearBandit.features`."""
        assert self.network is not None
        repeated = np.broadcast_to(users[:, None], (*items.shape[:2], users.shape[1]))
        with torch.no_grad():
            last = self.network.last_layer(self._tensor(repeated), self._tensor(items)).cpu().numpy()
        return with_constant(np.concatenate([last, items[:, :, : self.layout.num_content_features]], 2))

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
        layout = env.simulator.layout
        with torch.random.fork_rng():  # layers draw from torch's own generator, which is left as it was
            torch.manual_seed(seed)
            self.network = StarsNetwork(
                user=layout.user_size, item=layout.candidates_shape[1], width=self.width, last_width=self.last_width
            ).to(self.device)
        self.layout, self.prior = layout, None
        self.prior = LinearPrior.isotropic(self.num_features, self.ridge)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.learning_rate, weight_decay=WD)
        generator = torch.Generator().manual_seed(seed)
        log = AnswerLog(has_purchases=layout.has_purchases, max_answers=self.max_answers)
        milestones = Milestones(report, report_every, num_steps)
        milestones.begin()

        player = _Player(RandomAgent(), env, seed)
        num_rows, num_rounds_over = max(num_steps // num_envs, 1), 0
        for step, exposure in enumerate(rollout(env, player.act, num_steps, seed), start=1):
            users, items = shown_of(exposure.observations, exposure.slates, layout.candidates_shape)
            log.add(exposure, users=users, items=items)
            if step * self.num_rounds // num_rows > num_rounds_over:
                num_rounds_over += 1
                self.layout = layout  # `report` may have let this agent begin elsewhere
                self._train(optimizer, log, generator)
                self.prior = self._fitted_prior(log)
                if num_rounds_over >= self.random_share * self.num_rounds:
                    player.hand_over_to(copy.copy(self), env, seed + num_rounds_over)
            milestones.reach(step * num_envs)
        milestones.end(num_rows * num_envs)

    def _train(self, optimizer: torch.optim.Optimizer, log: AnswerLog, generator: torch.Generator) -> None:
        """Some epochs of squared error on all rows of the log: `stars`, `users` [R, U] and `items` [R, G]."""
        assert self.network is not None
        users, items, stars = (self._tensor(log[name]) for name in ("users", "items", "stars"))
        first = self.layout.num_content_features
        for _ in range(self.num_epochs):
            order = torch.randperm(len(stars), generator=generator)
            is_known = (torch.rand(len(stars), 1, generator=generator) >= _BLANK_SHARE).float()
            for rows in order.split(_BATCH_SIZE):
                known = items[rows, first:] * is_known[rows].to(self.device)
                seen = torch.cat([items[rows, :first], known], 1)
                loss = (self.network(users[rows], seen) - stars[rows]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def _fitted_prior(self, log: AnswerLog) -> LinearPrior:
        x = self.features(log["users"], log["items"][:, None])[:, 0]
        return prior_of_log(log, x, self.layout.num_profile_features, num_iterations=30)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        if self.network is None:
            raise NothingLearntError
        return super().act(observations, is_first)

    def save(self, path: Path) -> None:
        if self.network is None or self.prior is None:
            raise NothingLearntError
        weights = {f"network.{name}": weight.cpu().numpy() for name, weight in self.network.state_dict().items()}
        save_tensors(path, type(self).__name__, {**weights, **self.prior.tensors()}, self.network.sizes)

    def load(self, path: Path) -> None:
        tensors, sizes = load_tensors(path, type(self).__name__)
        network = StarsNetwork(**sizes).to(self.device)
        prefix = "network."
        network.load_state_dict(
            {name.removeprefix(prefix): torch.as_tensor(each) for name, each in tensors.items() if prefix in name}
        )
        self.network, self.prior = network, LinearPrior.of_tensors(tensors)
        self.width, self.last_width = sizes["width"], sizes["last_width"]


class _Player:
    """Acts while its owner learns; another agent takes over in the middle of the sessions, with what they remember."""

    def __init__(self, agent: RandomAgent | NeuralLinear, env: RecommenderVectorEnv, seed: int) -> None:
        self.hand_over_to(agent, env, seed)

    def hand_over_to(self, agent: RandomAgent | NeuralLinear, env: RecommenderVectorEnv, seed: int) -> None:
        agent.begin(env, seed)
        self._agent, self._is_new = agent, True

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        actions = self._agent.act(observations, is_first | self._is_new)
        self._is_new = False
        return actions
