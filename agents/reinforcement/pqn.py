"""PQN: Q-learning in many parallel sessions, without a replay buffer and without target networks.

Gallici et al., "Simplifying deep temporal difference learning", ICLR 2025: layer normalisation stabilises training,
and lambda-returns of short rollouts, each used for a few epochs, replace the target network.

Shape legend: N sessions side by side, T steps of a rollout, B rows of a batch (of a rollout: T * N), M candidates,
S slots of a slate, H shown items in the history.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from agents.agent import Env
from agents.networks.lambda_returns import lambda_returns
from agents.networks.torch_learner import Tensors, TorchLearner
from agents.rollouts.feedback import clicked_slots
from recsim_env.config import check_number
from recsim_env.envs.sb3.candidate_scorer import CandidateScorer, ScorerSizes
from recsim_env.envs.vector import last_observations

_MAX_GRADIENT_NORM = 10.0


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Steps of sessions to learn from."""

    observations: Tensors
    """Before the step."""
    slates: torch.Tensor
    """[B, S] int64: candidates that were shown, top slot first."""
    clicked: torch.Tensor
    """[B] int64: the slot that was clicked, or -1."""
    targets: torch.Tensor
    """[B] float32: lambda-returns, in units of reward."""

    def rows(self, index: torch.Tensor) -> "Steps":
        """Some of the steps."""
        return Steps(
            observations={name: part[index] for name, part in self.observations.items()},
            slates=self.slates[index],
            clicked=self.clicked[index],
            targets=self.targets[index],
        )


class QNetwork(nn.Module):
    """`"dict"` observations to [B, M]: a candidate's score, plus a state value that all candidates share."""

    def __init__(self, sizes: ScorerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.scorer = CandidateScorer(sizes)
        self.value = nn.Linear(sizes.width, 1)

    def forward(self, observations: Tensors) -> torch.Tensor:
        state, scores = self.scorer(observations)
        return scores + self.value(state)


class PQN(TorchLearner):
    """Q-learning from lambda-returns; one item a step.

    The network learns (1 - gamma) Q, a mean of rewards, whose scale does not depend on gamma. Sessions have a fixed
    length and observations contain the elapsed time, so truncation is treated like termination: no value is
    bootstrapped there.

    Args:
        env: see `Agent`.
        width: of the network's embeddings, a multiple of 4.
        device: where the network computes: "cpu", "cuda".
        gamma: discount factor of a step, in [0, 0.999].
        lambda_: in [0, 1]; 0 bootstraps after each step, 1 at the end of a rollout.
        learning_rate: of Adam, annealed linearly to 0.
        rollout_length: T.
        num_epochs: epochs for each rollout.
        batch_size: steps in a minibatch.
        final_epsilon: share of random slates once exploration is over; 1 at the start.
        exploration_fraction: share of the training over which epsilon is annealed, linearly.
        seed: see `Agent`.
    """

    has_layer_norm = True

    def __init__(
        self,
        env: Env | str | None = None,
        *,
        width: int = 64,
        device: str = "cpu",
        gamma: float = 0.95,
        lambda_: float = 0.65,
        learning_rate: float = 2e-3,
        rollout_length: int = 16,
        num_epochs: int = 2,
        batch_size: int = 64,
        final_epsilon: float = 0.05,
        exploration_fraction: float = 0.3,
        seed: int = 0,
    ) -> None:
        whole = (("rollout_length", rollout_length), ("num_epochs", num_epochs), ("batch_size", batch_size))
        for name, number in whole:
            check_number(name, number, 1, 1_000_000, int)
        for name, share in (("lambda_", lambda_), ("learning_rate", learning_rate), ("final_epsilon", final_epsilon)):
            check_number(name, share, 0.0, 1.0)
        check_number("exploration_fraction", exploration_fraction, 0.0, 1.0)
        check_number("gamma", gamma, 0.0, 0.999)
        super().__init__(env, width=width, device=device, seed=seed)
        self.gamma, self.lambda_, self.learning_rate = gamma, lambda_, learning_rate
        self.rollout_length, self.num_epochs, self.batch_size = rollout_length, num_epochs, batch_size
        self.final_epsilon, self.exploration_fraction = final_epsilon, exploration_fraction

    def make_network(self, sizes: ScorerSizes) -> nn.Module:
        return QNetwork(sizes)

    def check_sizes(self, slate_size: int, history_length: int) -> None:
        """`ValueError` if it cannot play such slates."""
        if slate_size != 1:
            raise ValueError(f"slate_size={slate_size}: PQN values single items, must be 1 (SlateQ plays slates)")

    def q_values(self, observations: Tensors) -> torch.Tensor:
        """[B, M]: Q of each candidate, in units of reward."""
        return self.network(observations) / (1.0 - self.gamma)

    def rank(self, observations: Tensors, slate_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores [B, M] whose S highest make the best slate, best on top, and its value [B]."""
        q_values = self.q_values(observations)
        return q_values, q_values.max(1).values

    def scores(self, observations: Tensors) -> torch.Tensor:
        return self.rank(observations, self.slate_size)[0]

    def loss(self, steps: Steps) -> torch.Tensor:
        """Mean of ((1 - gamma) (Q(s, a) - target))^2."""
        shown = self.q_values(steps.observations).gather(1, steps.slates).squeeze(1)
        return ((1.0 - self.gamma) * (shown - steps.targets)).square().mean()

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        env, observations, seed = self.start_training(total_timesteps)
        self.check_sizes(self.slate_size, self.layout.history_length)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        generator = torch.Generator(self.device).manual_seed(seed)
        num_taken = 0
        is_running = update(0)
        while is_running and num_taken < total_timesteps:
            share = num_taken / total_timesteps
            length = min(self.rollout_length, math.ceil((total_timesteps - num_taken) / env.num_envs))
            steps, observations = self._roll_out(env, observations, length, self.epsilon(share), generator)
            optimizer.param_groups[0]["lr"] = self.learning_rate * (1.0 - share)
            for _ in range(self.num_epochs):
                order = torch.randperm(len(steps.targets), generator=generator, device=self.device)
                for index in order.split(self.batch_size):
                    optimizer.zero_grad()
                    self.loss(steps.rows(index)).backward()
                    nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT_NORM)
                    optimizer.step()
            num_taken += length * env.num_envs
            is_running = update(num_taken)

    def epsilon(self, share: float) -> float:
        """Share of random slates when that share of the training is over."""
        if share >= self.exploration_fraction:
            return self.final_epsilon
        return 1.0 - (1.0 - self.final_epsilon) * share / self.exploration_fraction

    @torch.no_grad()
    def _roll_out(
        self, env: Any, observations: Any, length: int, epsilon: float, generator: torch.Generator
    ) -> tuple[Steps, Any]:
        """T = `length` steps in all sessions, and the observations after them."""
        slate_size, history_shape = env.simulator.config.slate_size, env.simulator.layout.history_shape
        seen, slates, clicked, rewards, is_over, values = [], [], [], [], [], []
        for _ in range(length):
            seen.append(self.tensors(observations))
            mask = seen[-1]["candidate_mask"]
            scores, value = self.rank(seen[-1], slate_size)
            is_random = torch.rand(len(mask), 1, generator=generator, device=self.device) < epsilon
            random = torch.rand(mask.shape, generator=generator, device=self.device)
            ranked = torch.where(is_random, random, scores.float()).masked_fill(mask == 0, -torch.inf)
            slates.append(ranked.topk(slate_size).indices)
            actions = slates[-1].cpu().numpy()
            observations, reward, terminated, truncated, infos = env.step(actions[:, 0] if slate_size == 1 else actions)
            histories = last_observations(observations, infos, "history").reshape(-1, *history_shape)
            num_shown = mask.sum(1).clamp(max=slate_size).cpu().numpy()
            clicked.append(torch.as_tensor(clicked_slots(histories, num_shown, slate_size)))
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            is_over.append(torch.as_tensor(terminated | truncated))
            values.append(value)
        values.append(self.rank(self.tensors(observations), slate_size)[1])
        targets = lambda_returns(
            torch.stack(rewards).to(self.device),
            torch.stack(is_over).to(self.device),
            torch.stack(values[1:]),
            gamma=self.gamma,
            lambda_=self.lambda_,
        )
        steps = Steps(
            observations={name: torch.cat([batch[name] for batch in seen]) for name in seen[0]},
            slates=torch.cat(slates),
            clicked=torch.cat(clicked).to(self.device),
            targets=targets.flatten(),
        )
        return steps, observations
