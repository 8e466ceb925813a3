"""A sequence model that learns from logged sessions, by supervision alone, how an item will be rated, and plays that.

The trunk is that of Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018 (`history_transformer`);
each candidate meets its states as in `candidate_scorer`. It looks one step ahead: what reinforcement learning adds to
such a network is the gap above it.

Shape legend: N sessions side by side, W windows, B batch, Q items whose stars are asked for, M candidates, S slots,
H shown items in the history, T features of a row, G of a candidate, P of the user, E width, D width of the attention,
R items shown in a session.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.agent import Observations
from agents.callbacks import Milestones
from agents.networks.history_encoder import HistoryTransformer
from agents.networks.torch_learner import TorchLearner
from agents.rollouts.logged_sessions import Windows, log_sessions, windows_of
from agents.saved_tensors import load_tensors
from recsim_env.config import check_number
from recsim_env.envs.sb3.candidate_scorer import MISSING, ScorerSizes
from recsim_env.envs.sb3.network_units import with_network_units
from recsim_env.simulation.observation import FEEDBACK

_MIDDLE = 3.0
"""Stars in the middle of the scale, from which the network counts."""
_LARGEST_GRADIENT = 1.0
_WARM_UP = 0.05
"""Share of the training in which the learning rate rises."""


@dataclass(frozen=True, kw_only=True)
class SequenceSizes(ScorerSizes):
    """Sizes of a `StarsPredictor`."""

    profile: int
    """The first columns of the user that never change within a session."""
    history_length: int
    """H."""
    num_layers: int = 1
    num_heads: int = 2


class StarsPredictor(nn.Module):
    """The stars that items will get, if they are shown next: P(chosen) times the mean stars if so.

    With the state h after what was shown so far, the user u, the item c, and what c attends to in the states so far a,
    P(chosen) and stars are linear in relu(U h + X u + V c + A a), plus (P h)'(K c) each.
    """

    def __init__(self, sizes: SequenceSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, narrow = sizes.width, sizes.width // 4
        self.trunk = HistoryTransformer(
            profile=sizes.profile,
            row=sizes.row,
            width=width,
            num_layers=sizes.num_layers,
            num_heads=sizes.num_heads,
            max_rows=sizes.history_length,
        )
        self.query = nn.Linear(sizes.candidate, narrow)
        self.key = nn.Linear(width, narrow)
        self.answer = nn.Linear(width, narrow)
        self.hidden_of_state = nn.Linear(width, width)
        self.hidden_of_user = nn.Linear(sizes.user, width, bias=False)
        self.hidden_of_item = nn.Linear(sizes.candidate, width, bias=False)
        self.hidden_of_answers = nn.Linear(narrow, width, bias=False)
        self.outcome = nn.Linear(width, 2)
        self.match_of_state = nn.Linear(width, 2 * narrow)
        self.match_of_item = nn.Linear(sizes.candidate, narrow)

    def states(self, users: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """[B, H + 1, E]: before the first of `rows` [B, H, T] (oldest first) and after each; `users` is [B, P]."""
        return self.trunk(users[:, : self.sizes.profile], rows)

    def outcomes(
        self, states: torch.Tensor, num_seen: torch.Tensor, users: torch.Tensor, items: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of being chosen [B, Q], and stars if so [B, Q], of `items` [B, Q, G] that are shown to `users`
        [B, Q, P] when `num_seen` [B, Q] of the rows behind `states` have been seen."""
        items = with_network_units(items)
        state = states.gather(1, num_seen.unsqueeze(2).expand(-1, -1, states.shape[2]))  # [B, Q, E]
        is_seen = torch.arange(states.shape[1], device=states.device) <= num_seen.unsqueeze(2)  # [B, Q, H + 1]
        likeness = torch.sigmoid(self.query(items) @ self.key(states).transpose(1, 2) / 2.0) * is_seen
        answers = likeness @ self.answer(states) / 4.0  # [B, Q, D]
        hidden = torch.relu(
            self.hidden_of_state(state)
            + self.hidden_of_user(users)
            + self.hidden_of_item(items)
            + self.hidden_of_answers(answers)
        )  # [B, Q, E]
        match = self.match_of_state(state).unflatten(2, (2, -1)) @ self.match_of_item(items).unsqueeze(3)
        outcome = self.outcome(hidden) + match.squeeze(3) / self.query.out_features**0.5  # [B, Q, 2]
        return outcome[..., 0], _MIDDLE + outcome[..., 1]

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """`"dict"` observations to the mean stars of each candidate [B, M]."""
        mask, user = observations["candidate_mask"], observations["user"]
        newest_first = observations["history"].unflatten(1, (-1, self.sizes.row))  # [B, H, T]
        num_shown = (newest_first[:, :, -len(FEEDBACK)] > 0).sum(1, keepdim=True)  # [B, 1]
        back = num_shown - 1 - torch.arange(newest_first.shape[1], device=mask.device)  # [B, H], negative: no such row
        rows = newest_first.gather(1, back.clamp(min=0).unsqueeze(2).expand_as(newest_first))
        chosen, stars = self.outcomes(
            self.states(user, rows),
            num_shown.expand_as(mask),
            user.unsqueeze(1).expand(-1, mask.shape[1], -1),
            observations["candidates"].unflatten(1, (mask.shape[1], -1)),
        )
        return (torch.sigmoid(chosen) * stars).masked_fill(mask == 0, MISSING)


def loss(network: StarsPredictor, windows: Windows) -> torch.Tensor:
    """Minus the mean log-likelihood of the answers: chosen or not, and stars of variance 1 if so."""
    states = network.states(windows.users[:, 0], windows.rows)
    chosen, stars = network.outcomes(states, windows.num_seen, windows.users, windows.items)
    was_chosen = (windows.stars != 0).to(stars.dtype)
    each = binary_cross_entropy_with_logits(chosen, was_chosen, reduction="none")
    each = each + 0.5 * was_chosen * (stars - windows.stars).square()
    return each[windows.is_asked].mean()


def learning_rate_factor(progress: float) -> float:
    """From 0 to 1 in a line while the training warms up, times half a cosine from 1 to 0; `progress` in [0, 1]."""
    return min(progress / _WARM_UP, 1.0) * 0.5 * (1.0 + math.cos(math.pi * progress))


class SequenceModel(TorchLearner):
    """Learns from a log what will be rated how, and shows what it expects most stars of.

    The log begins with items shown at random. Then follow rounds, in each of which it logs its own play and learns
    again from all that is logged: in a world where most items are disliked, a log of random items says little of the
    sessions that a good policy leads to. It learns answers in every round, never what a slate leads to later.

    Args:
        num_envs: sessions that run side by side while items are logged.
        random_share: share of the steps in which items are shown at random.
        num_rounds: of its own play; 0 only with a `random_share` of 1.
        exploration: share of slates at random in them.
        num_epochs: how often all that is logged so far is used in each fit.
        batch_size: windows of a gradient step.
        learning_rate: of AdamW, at its highest.
        weight_decay: of AdamW.
        num_layers: blocks of the trunk.
        num_heads: of its attention.
        width: of its states, a multiple of 4 and of `num_heads`.
        device: where the network computes: "cpu", "cuda".
    """

    def __init__(
        self,
        *,
        num_envs: int = 64,
        random_share: float = 0.5,
        num_rounds: int = 2,
        exploration: float = 0.1,
        num_epochs: int = 5,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        num_layers: int = 1,
        num_heads: int = 2,
        width: int = 64,
        device: str = "cpu",
    ) -> None:
        for name, number in (("num_envs", num_envs), ("num_epochs", num_epochs), ("batch_size", batch_size)):
            check_number(name, number, 1, 1_000_000, int)
        for name, number in (("num_layers", num_layers), ("num_heads", num_heads)):
            check_number(name, number, 1, 1_000, int)
        check_number("num_rounds", num_rounds, 0, 1_000, int)
        for name, share in (("random_share", random_share), ("exploration", exploration)):
            check_number(name, share, 0.0, 1.0)
        if (num_rounds == 0) != (random_share == 1.0) or random_share == 0.0:
            raise ValueError(
                f"random_share={random_share}: must be above 0, and 1 exactly if num_rounds={num_rounds} is 0"
            )
        for name, rate in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            check_number(name, rate, 0.0, 1.0)
        if width % 4 or width % num_heads:
            raise ValueError(f"width={width}: must be a multiple of 4 and of num_heads={num_heads}")
        super().__init__(num_envs=num_envs, width=width, device=device)
        self.random_share, self.num_rounds, self.exploration = random_share, num_rounds, exploration
        self.num_epochs, self.batch_size = num_epochs, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.num_layers, self.num_heads = num_layers, num_heads

    def make_network(self, sizes: ScorerSizes) -> StarsPredictor:
        assert isinstance(sizes, SequenceSizes)
        return StarsPredictor(sizes)

    def scores(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """[N, M]: mean stars of each candidate."""
        return self.network(observations)  # type: ignore[misc]

    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        """As `Learner.learn`; reports after each round, as there is nothing to see in between."""
        env: Any = gymnasium.make_vec(
            env_id, self.num_envs, vectorization_mode="vector_entry_point", observation=self.observation, **env_options
        )
        layout, slate_size = env.simulator.layout, env.simulator.config.slate_size
        sizes = SequenceSizes.of(
            layout,
            width=self.width,
            profile=layout.num_profile_features,
            history_length=layout.history_length,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
        )
        with torch.random.fork_rng():  # layers draw from torch's own generator, which is left as it was
            torch.manual_seed(seed)
            self.network = self.make_network(sizes).to(self.device)
        milestones = Milestones(report, report_every, num_steps)
        milestones.begin()
        generator, torch_generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        found: list[dict[str, np.ndarray]] = []
        num_taken = 0
        for round_, until in enumerate(np.linspace(self.random_share, 1.0, self.num_rounds + 1)):
            length = math.ceil(until * math.ceil(num_steps / self.num_envs)) - num_taken
            if length == 0:  # a budget smaller than the number of rounds
                continue
            play = self._logging_policy(generator, slate_size, self.exploration if round_ else 1.0)
            for session in log_sessions(env, play, length, seed + round_ * self.num_envs):
                found.extend(windows_of(session, layout.history_length, slate_size))
            windows = Windows(**{name: torch.as_tensor(np.stack([each[name] for each in found])) for name in found[0]})
            self._fit(windows.to(self.device), torch_generator)
            num_taken += length
            milestones.reach(num_taken * self.num_envs)
        env.close()
        milestones.end(num_taken * self.num_envs)

    def _logging_policy(
        self, generator: np.random.Generator, slate_size: int, exploration: float
    ) -> Callable[[Observations], np.ndarray]:
        """Shows slates [N, S] of what the network expects most stars of; a share `exploration` of them is random."""

        def play(observations: Observations) -> np.ndarray:
            is_there = observations["candidate_mask"] > 0
            scores = generator.random(is_there.shape)
            if exploration < 1.0:
                with torch.no_grad():
                    expected = self.scores(self.tensors(observations)).cpu().numpy()
                scores = np.where(generator.random((len(scores), 1)) < exploration, scores, expected)
            return np.argsort(np.where(is_there, -scores, np.inf), axis=1, kind="stable")[:, :slate_size]

        return play

    def _fit(self, windows: Windows, generator: torch.Generator) -> None:
        network: Any = self.network
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, betas=(0.9, 0.98), weight_decay=self.weight_decay
        )
        num_windows = len(windows.rows)
        num_updates = self.num_epochs * math.ceil(num_windows / self.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: learning_rate_factor((n + 1) / num_updates))
        for _ in range(self.num_epochs):
            for index in torch.randperm(num_windows, generator=generator).split(self.batch_size):
                optimizer.zero_grad()
                loss(network, windows.part(index.to(self.device))).backward()
                nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()

    def load(self, path: Path) -> None:
        weights, settings = load_tensors(path, type(self).__name__)
        network = StarsPredictor(SequenceSizes(**settings)).to(self.device)
        network.load_state_dict({name: torch.as_tensor(weight) for name, weight in weights.items()})
        self.network = network
