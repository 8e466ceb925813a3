"""A sequence model that learns from logged sessions, by supervision alone, how an item will be rated, and plays that.

The trunk is that of Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018 (`history_transformer`);
each candidate meets its states as in `candidate_scorer`. It looks one step ahead: what reinforcement learning adds to
such a network is the gap above it.

Shape legend: N sessions side by side, W windows, B batch, Q items whose stars are asked for, M candidates, S slots,
H shown items in the history, T features of a row, G of a candidate, P of the user, E width, D width of the attention,
R items shown in a session.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.candidate_scorer import MISSING, ScorerSizes
from agents.history_transformer import HistoryTransformer
from agents.milestones import Milestones
from agents.pqn import histories_after
from agents.random_agent import RandomAgent
from agents.saved_tensors import load_tensors
from agents.torch_learner import TorchLearner
from recsim_env.config import check_number
from recsim_env.observation import FEEDBACK
from recsim_env.vector_env import RecommenderVectorEnv

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


@dataclass(frozen=True, kw_only=True)
class LoggedSession:
    """What was shown to one person, in order, and what came of it."""

    rows: np.ndarray
    """[K + R, T] float32: of the history, oldest first; the first K were there when the session began."""
    num_seen: np.ndarray
    """[R] int64: rows before the slate that the item stood on."""
    users: np.ndarray
    """[R, P] float32: as observed when it was shown."""
    items: np.ndarray
    """[R, G] float32."""
    stars: np.ndarray
    """[R] float32: as the reward counts them, 0 if it was not chosen."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Pieces of sessions no longer than an observation remembers, on which the network learns at all places at once."""

    rows: torch.Tensor
    """[W, H, T], oldest first; missing ones at the end."""
    num_seen: torch.Tensor
    """[W, Q] int64: rows of the window before the slate that the item stood on."""
    users: torch.Tensor
    """[W, Q, P]."""
    items: torch.Tensor
    """[W, Q, G]."""
    stars: torch.Tensor
    """[W, Q]."""
    is_asked: torch.Tensor
    """[W, Q] bool: false where there is no such item."""

    def part(self, index: torch.Tensor) -> "Windows":
        """Some of the windows."""
        return Windows(**{name: value[index] for name, value in vars(self).items()})

    def to(self, device: torch.device) -> "Windows":
        return Windows(**{name: value.to(device) for name, value in vars(self).items()})


def log_sessions(env: RecommenderVectorEnv, num_steps: int, seed: int) -> Iterator[LoggedSession]:
    """Show items at random for at least `num_steps` user-steps; the sessions that took place, the last ones cut short.

    The stars of an item are S times the reward if it was clicked, else 0: one item of a slate is chosen at most.
    """
    layout, slate_size, num_envs = env.simulator.layout, env.simulator.config.slate_size, env.num_envs
    first_feedback = layout.num_content_features
    agent, is_first = RandomAgent(), np.ones(num_envs, np.bool_)
    agent.begin(env, seed)
    observations, _ = env.reset(seed=seed)
    log: list[dict[str, np.ndarray]] = []
    begins: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(num_envs)]  # step, and the history brought along
    for step in range(math.ceil(num_steps / num_envs)):
        for lane in np.flatnonzero(is_first):
            begins[lane].append((step, agent.history(observations)[lane].copy()))
        actions = agent.act(observations, is_first)
        slates = actions.reshape(num_envs, slate_size)
        entry = {
            "users": observations["user"],
            "items": np.take_along_axis(agent.candidates(observations), slates[:, :, None], 1),
            "is_shown": np.take_along_axis(observations["candidate_mask"], slates, 1) > 0,
        }
        observations, rewards, terminated, truncated, infos = env.step(actions)
        is_first = terminated | truncated
        histories = histories_after(observations, infos).reshape(num_envs, *layout.history_shape)
        back = entry["is_shown"].sum(1, keepdims=True) - 1 - np.arange(slate_size)  # the lowest slot is row 0
        entry["rows"] = np.take_along_axis(histories, np.maximum(back, 0)[:, :, None], 1)
        is_clicked = entry["rows"][:, :, first_feedback + FEEDBACK.index("click")] > 0
        entry["stars"] = slate_size * rewards[:, None] * is_clicked
        log.append(entry)
    whole = {name: np.stack([entry[name] for entry in log]) for name in log[0]}
    for lane in range(num_envs):
        for (begin, history), (end, _) in itertools.pairwise([*begins[lane], (len(log), None)]):
            part = {name: values[begin:end, lane] for name, values in whole.items()}
            is_shown, known = part["is_shown"], history[history[:, first_feedback] > 0][::-1]
            num_before = len(known) + np.cumsum(is_shown.sum(1)) - is_shown.sum(1)
            yield LoggedSession(
                rows=np.concatenate([known, part["rows"][is_shown]]),
                num_seen=np.repeat(num_before, is_shown.sum(1)),
                users=np.repeat(part["users"], is_shown.sum(1), 0),
                items=part["items"][is_shown],
                stars=part["stars"][is_shown].astype(np.float32),
            )


def windows_of(session: LoggedSession, history_length: int, slate_size: int) -> Iterator[dict[str, np.ndarray]]:
    """One session as windows of H rows that overlap by half, with the fields of `Windows`.

    Each item is asked for once: in the first window after all that came before, in the others after more than half a
    window, so that it is judged by a long memory, as it is when the agent plays.
    """
    stride, num_items = max(history_length // 2, 1), history_length + slate_size
    for begin in itertools.count(0, stride):
        num_seen = session.num_seen - begin
        is_asked = (num_seen <= history_length) & ((num_seen > history_length - stride) | (begin == 0))
        if is_asked.any():
            asked = {"users": session.users, "items": session.items, "stars": session.stars, "num_seen": num_seen}
            window = {name: _padded(values[is_asked], num_items) for name, values in asked.items()}
            window["rows"] = _padded(session.rows[begin : begin + history_length], history_length)
            window["is_asked"] = np.arange(num_items) < is_asked.sum()
            yield window
        if not (num_seen > history_length).any():
            return


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """Zeros after the last, up to that length."""
    return np.concatenate([values, np.zeros((length - len(values), *values.shape[1:]), values.dtype)])


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
    """Shows items at random for the whole budget, learns from that log, and then shows what it expects most stars of.

    Args:
        num_envs: sessions that run side by side while items are logged.
        num_epochs: how often the log is used.
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
        num_epochs: int = 10,
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
        for name, rate in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            check_number(name, rate, 0.0, 1.0)
        if width % 4 or width % num_heads:
            raise ValueError(f"width={width}: must be a multiple of 4 and of num_heads={num_heads}")
        super().__init__(num_envs=num_envs, width=width, device=device)
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
        """As `Learner.learn`; reports before and after, as there is nothing to see in between."""
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
        milestones = Milestones(report, 0, num_steps)
        milestones.begin()
        sessions = log_sessions(env, num_steps, seed)
        found = [window for session in sessions for window in windows_of(session, layout.history_length, slate_size)]
        windows = Windows(**{name: torch.as_tensor(np.stack([each[name] for each in found])) for name in found[0]})
        env.close()
        self._fit(windows.to(self.device), torch.Generator().manual_seed(seed))
        milestones.end(math.ceil(num_steps / self.num_envs) * self.num_envs)

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
