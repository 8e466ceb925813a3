"""REINFORCE with a top-K off-policy correction: a softmax over candidates.

Chen, Beutel, Covington, Jain, Belletti and Chi, "Top-K off-policy correction for a REINFORCE recommender system",
WSDM 2019: the gradient is corrected for the behaviour policy, and for slates of K items.

Shape legend: N sessions side by side, T steps of a rollout, B = T N steps of a batch, M candidates, S = K slots.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from agents.agent import Env, Observations
from agents.networks import plackett_luce
from agents.networks.torch_learner import TorchLearner
from recsim_env.config import check_number
from recsim_env.envs.sb3.candidate_scorer import CandidateScorer, ScorerSizes
from recsim_env.envs.vector import RecommenderVectorEnv

_MAX_GRADIENT_NORM = 0.5
"""Gradients are clipped to this norm."""


def behaviour_log_probs(scores: torch.Tensor, candidate_mask: torch.Tensor, exploration: float) -> torch.Tensor:
    """[..., M]: log of (1 - exploration) softmax(scores) + exploration / (number of available candidates).

    A candidate that is missing (0 in `candidate_mask` [..., M]) gets -inf.
    """
    uniform = candidate_mask / candidate_mask.sum(-1, keepdim=True).clamp(min=1.0)
    return ((1.0 - exploration) * torch.softmax(scores, -1) * candidate_mask + exploration * uniform).log()


def gradient_weights(
    log_probs: torch.Tensor, logged_log_probs: torch.Tensor, slate_size: int, cap: float
) -> torch.Tensor:
    """min(pi / beta, cap) K (1 - pi)^(K - 1): the weight of the gradient of log pi(a | s), besides the advantage.

    `log_probs` are of the items shown under pi, the policy being trained, `logged_log_probs` under beta, the behaviour
    policy; both have the shape of the result. K is `slate_size`; with K = 1 the weight is the capped ratio alone. The
    second factor is the derivative of 1 - (1 - pi)^K, the probability of being among K draws: it is small for an item
    that is almost certainly on the slate, so that other items gain. A slot that is empty because there are too few
    candidates is logged as -inf and has weight 0.
    """
    ratio = (log_probs - logged_log_probs).exp().clamp(max=cap)
    multiplier = slate_size * (1.0 - log_probs.exp()).clamp(min=0.0) ** (slate_size - 1)
    return torch.where(logged_log_probs.isneginf(), 0.0, ratio * multiplier)


def policy_loss(
    log_probs: torch.Tensor, logged_log_probs: torch.Tensor, advantages: torch.Tensor, cap: float
) -> torch.Tensor:
    """Its gradient is minus the corrected policy gradient: mean over steps of sum over slots of weight A grad log pi.

    Args:
        log_probs: [B, S] of the items shown, under the policy being trained; gradients flow through them.
        logged_log_probs: [B, S], under the behaviour policy.
        advantages: [B].
        cap: of the importance ratio.
    """
    weights = gradient_weights(log_probs.detach(), logged_log_probs, log_probs.shape[1], cap)
    return -(weights * advantages.unsqueeze(1) * log_probs).sum(1).mean()


def returns_to_go(rewards: np.ndarray, is_over: np.ndarray, last_values: np.ndarray, gamma: float) -> np.ndarray:
    """[T, N] float64: G_t = r_t + gamma G_{t + 1}, with G_T = `last_values` [N], and nothing after a session's end.

    `is_over` [T, N] marks terminated and truncated sessions alike: the horizon is fixed, and observations contain the
    elapsed time.
    """
    returns, following = np.zeros(rewards.shape), last_values
    for step in reversed(range(len(rewards))):
        following = rewards[step] + gamma * np.where(is_over[step], 0.0, following)
        returns[step] = following
    return returns


class PolicyAndBaseline(nn.Module):
    """`"dict"` observations to scores [B, M], whose softmax is the policy, and values [B], which are (1 - gamma) V:
    a mean of rewards, whose scale does not depend on gamma.

    Two networks, since the large errors of the regression of returns would disturb a shared one.
    """

    def __init__(self, sizes: ScorerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.policy, self.baseline = CandidateScorer(sizes), CandidateScorer(sizes)
        self.value = nn.Linear(sizes.width, 1)

    def forward(self, observations: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.policy(observations)[1], self.values(observations)

    def values(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.value(self.baseline(observations)[0]).squeeze(1)


@dataclass(frozen=True, kw_only=True)
class _Rollout:
    observations: dict[str, torch.Tensor]
    """[B, ...] each."""
    slates: torch.Tensor
    """[B, S] int64."""
    logged_log_probs: torch.Tensor
    """[B, S]: of each item as a single draw, when it was shown."""
    returns: torch.Tensor
    """[B]: returns-to-go, times 1 - gamma."""
    advantages: torch.Tensor
    """[B]: returns less the baseline, in units of their standard deviation."""


@dataclass
class SamplingState:
    """The generator of the sessions being played."""

    generator: torch.Generator


class ReinforceTopK(TorchLearner):
    """Samples slates from a softmax of scores, mixed with uniform exploration, and follows the corrected gradient.

    A rollout is used for several epochs; capped importance ratios correct for the change of the policy meanwhile. The
    advantage is the return-to-go minus a learned state value. `predict` shows the highest scores, or samples from the
    softmax without uniform exploration.

    Args:
        env: see `Agent`.
        rollout_length: T; values are bootstrapped after the last step.
        num_epochs: epochs for each rollout.
        batch_size: user-steps in a minibatch.
        learning_rate: of Adam, annealed linearly to 0.
        gamma: discount factor of a step, in [0, 0.999].
        exploration: share of uniform draws, in [0, 1].
        cap: largest importance ratio, at least 1.
        entropy_weight: of the policy's entropy, in standard deviations of the advantage.
        width: of the networks' embeddings.
        device: where the networks compute: "cpu", "cuda".
    """

    def __init__(
        self,
        env: Env | str | None = None,
        *,
        rollout_length: int = 50,
        num_epochs: int = 4,
        batch_size: int = 400,
        learning_rate: float = 4e-3,
        gamma: float = 0.9,
        exploration: float = 0.1,
        cap: float = 3.0,
        entropy_weight: float = 0.06,
        width: int = 64,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        whole = (("rollout_length", rollout_length), ("num_epochs", num_epochs), ("batch_size", batch_size))
        for name, number in whole:
            check_number(name, number, 1, 1_000_000, int)
        for name, share in (("learning_rate", learning_rate), ("exploration", exploration)):
            check_number(name, share, 0.0, 1.0)
        check_number("gamma", gamma, 0.0, 0.999)
        check_number("cap", cap, 1.0, math.inf)
        check_number("entropy_weight", entropy_weight, 0.0, 1_000.0)
        super().__init__(env, width=width, device=device, seed=seed)
        self.rollout_length, self.num_epochs, self.batch_size = rollout_length, num_epochs, batch_size
        self.learning_rate, self.gamma, self.exploration = learning_rate, gamma, exploration
        self.cap, self.entropy_weight = cap, entropy_weight

    def make_network(self, sizes: ScorerSizes) -> PolicyAndBaseline:
        return PolicyAndBaseline(sizes)

    def scores(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.network.policy(observations)[1]

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        env, observations, seed = self.start_training(total_timesteps)
        network = self.network
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate, eps=1e-5)
        generator = torch.Generator(self.device).manual_seed(seed)
        num_taken = 0
        is_running = update(0)
        while is_running and num_taken < total_timesteps:
            optimizer.param_groups[0]["lr"] = self.learning_rate * (1.0 - num_taken / total_timesteps)
            length = min(self.rollout_length, -(-(total_timesteps - num_taken) // env.num_envs))
            rollout, observations = self._roll_out(env, observations, length, generator)
            for _ in range(self.num_epochs):
                order = torch.randperm(len(rollout.returns), generator=generator, device=self.device)
                for batch in order.split(self.batch_size):
                    optimizer.zero_grad()
                    self._loss(rollout, batch).backward()
                    nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM)
                    optimizer.step()
            num_taken += length * env.num_envs
            is_running = update(num_taken)

    @torch.no_grad()
    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        if deterministic:
            return super().act(observations, state, episode_start, deterministic)
        slates = plackett_luce.draw_slates(self.scores(self.tensors(observations)), self.slate_size, state.generator)
        return (slates[:, 0] if self.slate_size == 1 else slates).cpu().numpy()

    def initial_state(self, num_sessions: int) -> SamplingState:
        seed = int(self.new_generator().integers(2**62))
        return SamplingState(torch.Generator(self.device).manual_seed(seed))

    @torch.no_grad()
    def log_probabilities(
        self,
        observations: Observations,
        actions: np.ndarray,
        state: SamplingState | None = None,
        episode_start: np.ndarray | None = None,
    ) -> np.ndarray:
        scores = self.scores(self.tensors(observations)).double()
        slates = torch.as_tensor(actions, device=self.device).reshape(len(scores), -1)
        return plackett_luce.slate_log_probabilities(scores, slates).sum(1).cpu().numpy()

    def _roll_out(
        self, env: RecommenderVectorEnv, observations: Any, length: int, generator: torch.Generator
    ) -> tuple[_Rollout, Any]:
        """`length` steps in all sessions, and the observations after them."""
        network = self.network
        slate_size = env.simulator.config.slate_size
        seen, slates, logged, rewards, is_over = [], [], [], [], []
        for _ in range(length):
            seen.append(self.tensors(observations))
            with torch.no_grad():
                scores = self.scores(seen[-1])
            log_probs = behaviour_log_probs(scores, seen[-1]["candidate_mask"], self.exploration)  # [N, M]
            slates.append(plackett_luce.draw_slates(log_probs, slate_size, generator))
            logged.append(log_probs.gather(1, slates[-1]))
            actions = slates[-1].cpu().numpy()
            observations, reward, terminated, truncated, _ = env.step(actions[:, 0] if slate_size == 1 else actions)
            rewards.append((1.0 - self.gamma) * reward)
            is_over.append(terminated | truncated)
        batch = {name: torch.cat([parts[name] for parts in seen]) for name in seen[0]}
        with torch.no_grad():
            values, last_values = network.values(batch), network.values(self.tensors(observations))
        returns = returns_to_go(np.stack(rewards), np.stack(is_over), last_values.cpu().numpy(), self.gamma)
        targets = torch.as_tensor(returns.reshape(-1), dtype=torch.float32, device=self.device)
        advantages = targets - values
        rollout = _Rollout(
            observations=batch,
            slates=torch.cat(slates),
            logged_log_probs=torch.cat(logged),
            returns=targets,
            advantages=advantages / (advantages.std() + 1e-8),
        )
        return rollout, observations

    def _loss(self, rollout: _Rollout, batch: torch.Tensor) -> torch.Tensor:
        """Policy, entropy and baseline loss of the rows `batch` of a rollout."""
        network = self.network
        scores, values = network({name: part[batch] for name, part in rollout.observations.items()})
        log_probs = torch.log_softmax(scores, 1)
        shown = log_probs.gather(1, rollout.slates[batch])
        entropy = -(log_probs.exp() * log_probs).sum(1).mean()
        loss = policy_loss(shown, rollout.logged_log_probs[batch], rollout.advantages[batch], self.cap)
        return loss - self.entropy_weight * entropy + (values - rollout.returns[batch]).square().mean()
