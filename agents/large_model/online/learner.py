"""Online learning from live feedback, in small steps near the deployed policy.

Each round learns from live sessions by reinforcement and supervision; recent sessions of earlier rounds are replayed
for supervision only, as they are off-policy. A divergence penalty keeps the policy near the deployed one, and a round
that moves it too far is reverted. `learn_online` plays the sessions itself and deploys the present policy after some
rounds; `online.service` has them from people, and deploys what passes its tests.
"""

import copy
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from agents.large_model.config import LossWeights
from agents.large_model.losses import SessionLoss, divergence, session_returns
from agents.large_model.model import LargeModelNetwork
from agents.large_model.online.config import OnlineConfig
from agents.large_model.rollout import Sessions, play
from agents.networks.item_content import ItemContent

_DEFAULT = OnlineConfig()


@dataclass(frozen=True, kw_only=True)
class Round:
    """The result of one round."""

    number: int
    """From 0."""
    mean_return: float
    """Of its live sessions."""
    divergence: float
    """Mean KL(deployed, present) over its steps after learning, in nats."""
    is_reverted: bool
    """Whether its updates were reverted, as the policy had moved too far."""


class OnlineLearner:
    """Learns from rounds of live sessions in one catalogue, whose `content` is given.

    The weights of `network` change. Its divergence is measured from `deployed`, by default a copy of it. `seed` draws
    the order of sessions.
    """

    def __init__(
        self,
        network: LargeModelNetwork,
        content: ItemContent,
        config: OnlineConfig = _DEFAULT,
        seed: int = 0,
        deployed: LargeModelNetwork | None = None,
    ) -> None:
        self.network, self.content, self.config = network, content, config
        self.deployed = copy.deepcopy(deployed or network).requires_grad_(False)
        self._loss = SessionLoss(network, config.clip_range)
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, betas=(0.9, 0.95))
        self._generator = torch.Generator().manual_seed(seed)
        self._num_rounds = 0

    def learn(
        self, sessions: Sessions, replayed: Sequence[Sessions] = (), importance: torch.Tensor | None = None
    ) -> Round:
        """Learn from the sessions of one round, and from older ones by supervision.

        Args:
            sessions: with log-probabilities and values of the present network.
            replayed: sessions of each earlier round.
            importance: [B, T] weights of the steps in the policy's loss, where the present policy did not choose the
                slates itself; by default 1.

        Raises:
            ValueError: a reward is not finite; the network is unchanged then.
        """
        config = self.config
        if not sessions.rewards[sessions.is_step].isfinite().all():
            raise ValueError("rewards: some are not finite, all must be")
        before = copy.deepcopy((self.network.state_dict(), self._optimizer.state_dict()))
        numbers = {"gamma": config.gamma, "gae_lambda": config.gae_lambda}
        returns = session_returns(sessions.rewards, sessions.values, sessions.is_step, **numbers)
        advantages = returns - sessions.values
        taken = advantages[sessions.is_step]
        advantages = (advantages - taken.mean()) / taken.std(correction=0).clamp(min=1e-6)
        if importance is not None:
            advantages = advantages * importance
        live = LossWeights(
            policy=1.0, feedback=config.feedback, value=config.value, entropy=config.entropy, anchor=config.anchor
        )
        supervised = LossWeights(feedback=config.feedback, anchor=config.anchor)
        for _ in range(config.num_epochs):
            for index in self._batches(len(sessions)):
                is_step = sessions.is_step[index]
                self._step(sessions.select(index), live, advantages[index][is_step], returns[index][is_step])
                if replayed:
                    old = replayed[int(torch.randint(len(replayed), (1,), generator=self._generator))]
                    order = torch.randperm(len(old), generator=self._generator)[: len(index)].to(index.device)
                    part = old.select(order)
                    zeros = torch.zeros_like(part.steps.rewards)
                    self._step(part, supervised, zeros, zeros)
        moved = self.divergence(sessions)
        is_reverted = not moved <= config.max_divergence  # NaN included
        if is_reverted:
            self.network.load_state_dict(before[0])
            self._optimizer.load_state_dict(before[1])
        number, mean_return = self._num_rounds, float(sessions.returns.mean())
        self._num_rounds += 1
        return Round(number=number, mean_return=mean_return, divergence=moved, is_reverted=is_reverted)

    def deploy(self) -> None:
        """Measure divergence from the present network from now on."""
        self.deployed.load_state_dict(self.network.state_dict())

    @torch.no_grad()
    def divergence(self, sessions: Sessions) -> float:
        """Mean KL(deployed, present) over the steps of some sessions, in nats."""
        deployed, present = (each(sessions, self.content).logits for each in (self.deployed, self.network))
        return float(divergence(deployed, present).mean())

    def _batches(self, number: int) -> list[torch.Tensor]:
        order = torch.randperm(number, generator=self._generator)
        return list(order.to(self.content.features.device).split(self.config.batch_sessions))

    def _step(self, part: Sessions, weights: LossWeights, advantages: torch.Tensor, returns: torch.Tensor) -> None:
        with torch.no_grad():
            anchor = self.deployed(part, self.content).logits
        targets = {"advantages": advantages, "returns": returns, "anchor_logits": anchor}
        total, _ = self._loss(part, self.content, weights, **targets)
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()


def learn_online(
    network: LargeModelNetwork,
    env: Any,
    num_steps: int,
    *,
    seed: int,
    config: OnlineConfig = _DEFAULT,
    callback: Callable[[Round], None] | None = None,
) -> None:
    """Act in a vector env with compact observations and learn from its feedback, for `num_steps` user-steps.

    The weights of the network, the deployed one, change. A round is one session in each lane, and the last one is
    played to its end. `callback` is called with the result of each round.
    """
    content = network.content_of(env)
    learner, num_taken, number = OnlineLearner(network, content, config, seed), 0, 0
    recent: deque[Sessions] = deque(maxlen=config.replayed_rounds)
    while num_taken < num_steps:
        generator = torch.Generator(network.device).manual_seed(seed * 2**32 + number)
        sessions = play(network, env, content, seed=(seed * 2**20 + number) * env.num_envs, generator=generator)
        result = learner.learn(sessions, recent)
        if not result.is_reverted:
            recent.append(sessions)
        num_taken += sessions.num_steps
        number += 1
        if number % config.deploy_every == 0:
            learner.deploy()
        if callback:
            callback(result)
