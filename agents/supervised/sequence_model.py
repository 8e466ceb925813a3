"""A sequence model: learns from logged sessions which items will be clicked, and their rewards, by supervision alone.

Its encoder is that of Kang and McAuley, "Self-attentive sequential recommendation" (SASRec), ICDM 2018, with content
and feedback in place of item ids, so that new items are understood at once; candidates attend to its states as in
`candidate_scorer`. It maximises the next reward: the distance to reinforcement learning with such a network is the
value of planning.

Shape legend: N sessions side by side, W windows, B batch, Q target items, M candidates, S slots, H rows of the
history, T features of a row, G of a candidate, P of the user, E width, D width of the attention.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.agent import Observations
from agents.networks.torch_learner import Tensors, TorchLearner
from agents.networks.transformer import Transformer
from agents.rollouts.feedback import UNRATED, Policy
from agents.rollouts.logged_sessions import log_sessions, windows_of
from recsim_env.config import count, number
from recsim_env.sb3.candidate_scorer import MISSING, ScorerSizes
from recsim_env.sb3.network_units import with_network_units
from recsim_env.simulation.observation import FEEDBACK

_MAX_GRADIENT_NORM = 1.0
_WARM_UP = 0.05
"""Share of the training in which the learning rate rises."""


@dataclass(frozen=True, kw_only=True)
class SequenceSizes(ScorerSizes):
    """Sizes of a `RewardPredictor`, and what it predicts rewards relative to."""

    profile: int
    """The first features of the user, which are constant within a session."""
    history_length: int
    """H."""
    middle_reward: float = 0.0
    """Reward of a rating in the middle of the scale."""
    num_layers: int = 1
    num_heads: int = 2


class RewardPredictor(nn.Module):
    """Expected rewards of items that are shown next: P(click) times the mean reward of a click.

    With the state h after the rows so far, the user u, the item c, and what c attends to in the states so far a, the
    logit of P(click) and the reward are linear in relu(U h + X u + V c + A a), plus (P h)'(K c) each.
    """

    def __init__(self, sizes: SequenceSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, narrow = sizes.width, sizes.width // 4
        self.profile, self.row = nn.Linear(sizes.profile, width), nn.Linear(sizes.row, width)
        self.transformer = Transformer(
            width=width,
            num_layers=sizes.num_layers,
            num_heads=sizes.num_heads,
            num_key_heads=sizes.num_heads,
            hidden_width=8 * width // 3,  # as many weights as 4 x width without a gate
            max_tokens=1 + sizes.history_length,
        )
        self.query = nn.Linear(sizes.candidate, narrow)
        self.key = nn.Linear(width, narrow)
        self.feedback = nn.Linear(width, narrow)
        self.hidden_of_state = nn.Linear(width, width)
        self.hidden_of_user = nn.Linear(sizes.user, width, bias=False)
        self.hidden_of_item = nn.Linear(sizes.candidate, width, bias=False)
        self.hidden_of_attended = nn.Linear(narrow, width, bias=False)
        self.outcome = nn.Linear(width, 2)
        self.match_of_state = nn.Linear(width, 2 * narrow)
        self.match_of_item = nn.Linear(sizes.candidate, narrow)

    def states(self, users: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """[B, H + 1, E]: before the first of `rows` [B, H, T] (oldest first) and after each; `users` is [B, P]."""
        profile = self.profile(users[:, : self.sizes.profile])
        return self.transformer(torch.cat([profile.unsqueeze(1), self.row(rows)], 1))

    def outcomes(
        self, states: torch.Tensor, num_seen: torch.Tensor, users: torch.Tensor, items: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of a click [B, Q] and mean rewards of a click [B, Q], of `items` [B, Q, G] that are shown to `users`
        [B, Q, P] after `num_seen` [B, Q] of the rows behind `states`."""
        items = with_network_units(items)
        state = states.gather(1, num_seen.unsqueeze(2).expand(-1, -1, states.shape[2]))  # [B, Q, E]
        is_seen = torch.arange(states.shape[1], device=states.device) <= num_seen.unsqueeze(2)  # [B, Q, H + 1]
        similarity = torch.sigmoid(self.query(items) @ self.key(states).transpose(1, 2) / 2.0) * is_seen
        attended = similarity @ self.feedback(states) / 4.0  # [B, Q, D]
        hidden = torch.relu(
            self.hidden_of_state(state)
            + self.hidden_of_user(users)
            + self.hidden_of_item(items)
            + self.hidden_of_attended(attended)
        )  # [B, Q, E]
        match = self.match_of_state(state).unflatten(2, (2, -1)) @ self.match_of_item(items).unsqueeze(3)
        outcome = self.outcome(hidden) + match.squeeze(3) / self.query.out_features**0.5  # [B, Q, 2]
        return outcome[..., 0], self.sizes.middle_reward + outcome[..., 1]

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """`"full"` observations to the expected reward of each candidate [B, M]."""
        mask, user = observations["candidate_mask"], observations["user"]
        newest_first = observations["history"].unflatten(1, (-1, self.sizes.row))  # [B, H, T]
        num_shown = (newest_first[:, :, -len(FEEDBACK)] > 0).sum(1, keepdim=True)  # [B, 1]
        back = num_shown - 1 - torch.arange(newest_first.shape[1], device=mask.device)  # [B, H], negative for padding
        rows = newest_first.gather(1, back.clamp(min=0).unsqueeze(2).expand_as(newest_first))
        clicks, rewards = self.outcomes(
            self.states(user, rows),
            num_shown.expand_as(mask),
            user.unsqueeze(1).expand(-1, mask.shape[1], -1),
            observations["candidates"].unflatten(1, (mask.shape[1], -1)),
        )
        return (torch.sigmoid(clicks) * rewards).masked_fill(mask == 0, MISSING)


def loss(network: RewardPredictor, windows: Tensors) -> torch.Tensor:
    """Minus the mean log-likelihood of the feedback: a click or none, and a reward of variance 1 if there is one.

    `windows` are as `logged_sessions.windows_of` describes them.
    """
    users, rewards = windows["users"], windows["rewards"]
    states = network.states(users[:, 0], windows["rows"])
    logits, expected = network.outcomes(states, windows["num_seen"], users, windows["items"])
    is_clicked = windows["is_clicked"].to(rewards.dtype)
    losses = binary_cross_entropy_with_logits(logits, is_clicked, reduction="none")
    losses = losses + 0.5 * is_clicked * (expected - rewards).square()
    return losses[windows["is_target"]].mean()


def learning_rate_factor(progress: float) -> float:
    """A linear warm-up from 0 to 1, times half a cosine from 1 to 0; `progress` in [0, 1]."""
    return min(progress / _WARM_UP, 1.0) * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceModel(TorchLearner):
    """Learns from a log the rewards of items, and shows the candidates with the highest expected reward.

    In the first part of the training items are shown at random. Then follow rounds, in each of which it logs its own
    policy and is fitted again to the whole log: where users dislike most items, a log of random items contains little
    of the sessions that a good policy leads to. Each round is supervised: no slate is credited with later rewards.
    """

    sizes_class = SequenceSizes

    random_share: float = number(0.5, 0.0, 1.0)
    """Share of the steps in which items are shown at random, above 0."""
    num_rounds: int = count(2, 0, 1_000)
    """Rounds with its own policy; 0 if and only if `random_share` is 1."""
    exploration: float = number(0.1, 0.0, 1.0)
    """Share of random slates in them."""
    num_epochs: int = count(5, 1, 1_000_000)
    """Epochs over the log in each fit."""
    batch_size: int = count(32, 1, 1_000_000)
    """Windows of a gradient step."""
    learning_rate: float = number(2e-3, 0.0, 1.0)
    """Of AdamW, at its highest."""
    weight_decay: float = number(0.01, 0.0, 1.0)
    """Of AdamW."""
    num_layers: int = count(1, 1, 1_000)
    """Of the encoder."""
    num_heads: int = count(2, 1, 1_000)
    """Of its attention; the width must be a multiple of 4 and of twice their number."""

    def __post_init__(self, env: Any) -> None:
        super().__post_init__(env)
        if (self.num_rounds == 0) != (self.random_share == 1.0) or self.random_share == 0.0:
            raise ValueError(
                f"random_share={self.random_share}: must be above 0, and 1 if and only if "
                f"num_rounds={self.num_rounds} is 0"
            )
        if self.width % 4 or self.width % (2 * self.num_heads):
            raise ValueError(f"width={self.width}: must be a multiple of 4 and of twice num_heads={self.num_heads}")

    def sizes(self) -> SequenceSizes:
        return SequenceSizes.of(
            self.layout,
            width=self.width,
            profile=self.layout.num_profile_features,
            history_length=self.layout.history_length,
            middle_reward=UNRATED - self.layout.neutral_rating,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
        )

    def make_network(self, sizes: Any) -> RewardPredictor:
        return RewardPredictor(sizes)

    def scores(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """[N, M]: expected rewards."""
        return self.network(observations)

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        env, seed, layout = self.training_env(total_timesteps), self.seed + self.num_timesteps, self.layout
        num_steps = math.ceil(total_timesteps / env.num_envs)
        if self._network is None:
            self.init_network()
        generator, torch_generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        log: list[dict[str, np.ndarray]] = []
        num_taken = 0
        update(0)
        for round_, until in enumerate(np.linspace(self.random_share, 1.0, self.num_rounds + 1)):
            length = math.ceil(until * num_steps) - num_taken
            if length == 0:  # there are fewer steps than rounds
                continue
            policy = self._logging_policy(generator, self.exploration if round_ else 1.0)
            for session in log_sessions(env, policy, length, seed + round_ * env.num_envs):
                log.extend(windows_of(session, layout.history_length, self.slate_size))
            self._fit(self.tensors({name: np.stack([each[name] for each in log]) for name in log[0]}), torch_generator)
            num_taken += length
            if not update(num_taken * env.num_envs):
                break

    def _logging_policy(self, generator: np.random.Generator, exploration: float) -> Policy:
        """Slates with the highest expected rewards, a share `exploration` of them at random."""

        def policy(observations: Observations, episode_start: np.ndarray) -> np.ndarray:
            scores = generator.random(observations["candidate_mask"].shape)
            if exploration < 1.0:
                with torch.no_grad():
                    expected = self.scores(self.tensors(observations)).cpu().numpy()
                scores = np.where(generator.random((len(scores), 1)) < exploration, scores, expected)
            return self.top_candidates(scores, observations["candidate_mask"])

        return policy

    def _fit(self, windows: Tensors, generator: torch.Generator) -> None:
        network = self.network
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, betas=(0.9, 0.98), weight_decay=self.weight_decay
        )
        num_windows = len(windows["rows"])
        num_updates = self.num_epochs * math.ceil(num_windows / self.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: learning_rate_factor((n + 1) / num_updates))
        for _ in range(self.num_epochs):
            for index in torch.randperm(num_windows, generator=generator).split(self.batch_size):
                optimizer.zero_grad()
                rows = index.to(self.device)
                loss(network, {name: part[rows] for name, part in windows.items()}).backward()
                nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM)
                optimizer.step()
                schedule.step()
