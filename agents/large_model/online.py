"""Goes on learning from live feedback, in small steps that cannot lead far from the policy that was deployed last.

Rounds of live sessions are played with the present model and learnt from by reinforcement and by supervision, recent
sessions of earlier rounds by supervision again (they are other policies' draws). The policy is held by its divergence
from the deployed one, and a round after which it has moved too far is undone. After some rounds the present policy is
deployed: it becomes what the next ones are held by.
"""

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from agents.large_model.losses import LossWeights, SessionLoss, Targets, divergence
from agents.large_model.model import LargeModel
from agents.large_model.rollout import play
from agents.large_model.sessions import Sessions, lambda_returns
from agents.networks.item_content import ItemContent
from recsim_env.config import Checked, count, number


@dataclass(frozen=True, kw_only=True)
class OnlineConfig(Checked):
    """How fast, and how far at most, a model follows what is answered."""

    learning_rate: float = number(3e-4, 0.0, 1.0)
    """Of AdamW."""
    num_epochs: int = count(2, 1, 100)
    """Times that a round's sessions are learnt from."""
    batch_sessions: int = count(32, 1, 1_000_000)
    """Sessions of a gradient step."""
    replayed_rounds: int = count(4, 0, 1_000)
    """Earlier rounds whose answers are learnt again, as many sessions of them as a round has."""
    anchor: float = number(0.3, 0.0, 1e3)
    """Weight of the divergence from the deployed policy, in nats."""
    max_divergence: float = number(0.3, 0.0, 100.0)
    """Mean divergence from the deployed policy, in nats, above which a round is undone."""
    deploy_every: int = count(4, 1, 1_000_000)
    """Rounds after which the present policy is deployed."""
    answers: float = number(0.5, 0.0, 1e3)
    """Weight of what supervision learns."""
    value: float = number(0.1, 0.0, 1e3)
    """Weight of the values."""
    entropy: float = number(0.01, 0.0, 1e3)
    """Weight of variety."""
    clip: float = number(0.1, 0.01, 10.0)
    """How far a slot's probability may move in a round, as a ratio."""
    gamma: float = number(0.99, 0.0, 1.0)
    """Discount of a step."""
    trace: float = number(0.95, 0.0, 1.0)
    """Lambda of returns."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """What came of one round."""

    number: int
    """From 0."""
    mean_return: float
    """Of its live sessions."""
    divergence: float
    """Mean KL(deployed, present) over its steps after learning, in nats."""
    is_undone: bool
    """Whether it was forgotten, as the policy had moved too far."""


class OnlineLearner:
    """Learns from rounds of live sessions of one catalogue.

    Args:
        model: deployed already; its weights change.
        content: the catalogue's.
        config: how.
        seed: of the order in which sessions are learnt from.
    """

    def __init__(
        self, model: LargeModel, content: ItemContent, config: OnlineConfig = OnlineConfig(), seed: int = 0
    ) -> None:
        self.model, self.content, self.config = model, content, config
        self.deployed = copy.deepcopy(model).requires_grad_(False)
        self._loss = SessionLoss(model, config.clip)
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.95))
        self._recent: deque[Sessions] = deque(maxlen=config.replayed_rounds)
        self._generator = torch.Generator().manual_seed(seed)
        self._num_rounds = 0

    def learn(self, sessions: Sessions) -> Round:
        """Learn from the sessions of one round, which the present model has played.

        Raises:
            ValueError: a reward is not finite; nothing has been learnt then.
        """
        config = self.config
        if not sessions.rewards[sessions.is_step].isfinite().all():
            raise ValueError("rewards: some are not finite, all must be")
        before = copy.deepcopy((self.model.state_dict(), self._optimizer.state_dict()))
        returns = lambda_returns(
            sessions.rewards, sessions.values, sessions.is_step, gamma=config.gamma, trace=config.trace
        )
        advantages = returns - sessions.values
        taken = advantages[sessions.is_step]
        advantages = (advantages - taken.mean()) / taken.std(correction=0).clamp(min=1e-6)
        live = LossWeights(
            policy=1.0, answers=config.answers, value=config.value, entropy=config.entropy, anchor=config.anchor
        )
        replayed = LossWeights(answers=config.answers, anchor=config.anchor)
        for _ in range(config.num_epochs):
            for index in self._batches(len(sessions)):
                is_step = sessions.is_step[index]
                self._step(sessions.part(index), live, advantages[index][is_step], returns[index][is_step])
                if self._recent:
                    old = self._recent[int(torch.randint(len(self._recent), (1,), generator=self._generator))]
                    again = torch.randperm(len(old), generator=self._generator)[: len(index)].to(index.device)
                    part = old.part(again)
                    nothing = torch.zeros_like(part.steps.rewards)
                    self._step(part, replayed, nothing, nothing)
        moved = self.divergence(sessions)
        is_undone = not moved <= config.max_divergence  # also if it is no number
        if is_undone:
            self.model.load_state_dict(before[0])
            self._optimizer.load_state_dict(before[1])
        else:
            self._recent.append(sessions)
        found = Round(
            number=self._num_rounds, mean_return=float(sessions.returns.mean()), divergence=moved, is_undone=is_undone
        )
        self._num_rounds += 1
        if self._num_rounds % config.deploy_every == 0:
            self.deployed.load_state_dict(self.model.state_dict())
        return found

    @torch.no_grad()
    def divergence(self, sessions: Sessions) -> float:
        """Mean KL(deployed, present) over the steps of some sessions, in nats."""
        return float(
            divergence(self.deployed(sessions, self.content).logits, self.model(sessions, self.content).logits).mean()
        )

    def _batches(self, number: int) -> list[torch.Tensor]:
        order = torch.randperm(number, generator=self._generator)
        return list(order.to(self.content.features.device).split(self.config.batch_sessions))

    def _step(self, part: Sessions, weights: LossWeights, advantages: torch.Tensor, returns: torch.Tensor) -> None:
        with torch.no_grad():
            anchor = self.deployed(part, self.content).logits
        targets = Targets(advantages=advantages, returns=returns, anchor_logits=anchor)
        total, _ = self._loss(part, self.content, targets, weights)
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()


def learn_online(
    model: LargeModel,
    env: Any,
    num_steps: int,
    *,
    seed: int,
    config: OnlineConfig = OnlineConfig(),
    report: Callable[[Round], None] | None = None,
) -> None:
    """Let the model serve the sessions of a vector env of compact observations, and learn from them, for `num_steps`
    user-steps.

    Args:
        model: deployed already; its weights change.
        env: a session in each lane is one of a round.
        num_steps: rounds are played to their end.
        seed: of sessions and draws.
        config: how.
        report: takes what came of each round.
    """
    device = next(model.parameters()).device
    content = model.content_of(env)
    learner, num_taken, number = OnlineLearner(model, content, config, seed), 0, 0
    while num_taken < num_steps:
        generator = torch.Generator(device).manual_seed(seed * 2**32 + number)
        sessions = play(model, env, content, seed=(seed * 2**20 + number) * env.num_envs, generator=generator)
        found = learner.learn(sessions)
        num_taken += sessions.num_steps
        number += 1
        if report:
            report(found)
