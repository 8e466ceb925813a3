"""Decision Transformer: imitates a log conditional on the return-to-go, and acts conditional on a high return.

Chen et al., "Decision Transformer: reinforcement learning via sequence modeling", NeurIPS 2021. The paper has three
tokens in each step, the previous action, the return-to-go and the state; here they are one token, since all are known
before the action. Candidates are scored by the `CandidateScorer`, with the output of the Transformer as user features.

Shape legend: N sessions side by side, B windows of a batch, K steps of a window, M candidates, S slots of a slate, H
rows of the history, T features of a row, P features of the user, E width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from agents.agent import Observations, Starts, State, first_steps
from agents.networks.softmax_policy import SoftmaxLearner
from agents.networks.torch_learner import Tensors
from agents.networks.transformer import Transformer
from agents.offline.behavior_cloning import slate_log_likelihoods
from agents.offline.logged_steps import LoggedSteps
from agents.offline.offline_learner import OfflineLearner
from agents.offline.reward_estimate import NUM_REGRESSORS, fit_reward_weights, regressors
from agents.rollouts.feedback import last_slate
from recsim_env.config import count, number
from recsim_env.sb3.candidate_scorer import CandidateScorer, ScorerSizes

_NUM_QUANTILES = 101
_MAX_FITTED_STEPS = 100_000
"""Number of steps from which the reward weights are estimated."""


@dataclass(frozen=True, kw_only=True)
class DecisionSizes(ScorerSizes):
    """Sizes of a `ReturnConditionedPolicy`."""

    slate: int
    """S."""
    context_length: int
    """Maximum K."""
    num_layers: int = 1
    num_heads: int = 2


class ReturnConditionedPolicy(nn.Module):
    """Scores candidates, given the return-to-go, the user and the previous slate at up to K steps.

    Its buffers are statistics of the log: mean and standard deviation of returns-to-go, quantiles of session returns,
    and the weights of `reward_estimate`.
    """

    return_mean: torch.Tensor
    return_sd: torch.Tensor
    session_returns: torch.Tensor
    reward_weights: torch.Tensor

    def __init__(self, sizes: DecisionSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.step = nn.Linear(1 + sizes.user + sizes.slate * sizes.row, sizes.width)
        self.transformer = Transformer(
            width=sizes.width,
            num_layers=sizes.num_layers,
            num_heads=sizes.num_heads,
            num_key_heads=sizes.num_heads,
            hidden_width=8 * sizes.width // 3,  # as many weights as 4 x width without a gate
            max_tokens=sizes.context_length,
        )
        scorer = ScorerSizes(
            user=sizes.user + sizes.width,
            row=sizes.row,
            candidate=sizes.candidate,
            width=sizes.width,
            has_layer_norm=sizes.has_layer_norm,
        )
        self.scorer = CandidateScorer(scorer)
        self.register_buffer("return_mean", torch.zeros(()))
        self.register_buffer("return_sd", torch.ones(()))
        self.register_buffer("session_returns", torch.zeros(_NUM_QUANTILES))
        self.register_buffer("reward_weights", torch.zeros(NUM_REGRESSORS, dtype=torch.float64))

    def states(self, returns: torch.Tensor, users: torch.Tensor, slates: torch.Tensor) -> torch.Tensor:
        """[B, K, E]: of steps with returns-to-go [B, K], users [B, K, P] and previous slates [B, K, S * T]."""
        scaled = ((returns - self.return_mean) / self.return_sd).unsqueeze(2)
        return self.transformer(self.step(torch.cat([scaled, users, slates], 2)))

    def forward(self, observations: Tensors, states: torch.Tensor) -> torch.Tensor:
        """[N, M]: scores for observations with states [N, E]."""
        return self.scorer({**observations, "user": torch.cat([observations["user"], states], 1)})[1]


@dataclass(kw_only=True, eq=False, repr=False)
class DecisionTransformer(SoftmaxLearner, OfflineLearner):
    """A softmax policy conditional on the return-to-go.

    A session starts with a high quantile of the logged returns as its return-to-go, from which the rewards so far,
    estimated from the feedback, are subtracted. If returns depend on luck more than on actions, the return-to-go says
    little about actions, and the policy stays close to the behaviour policy.
    """

    sizes_class = DecisionSizes
    state_class = dict  # of arrays that are replaced, never modified: log writers keep the state before a step

    target_quantile: float = number(0.9, 0.0, 1.0)
    """Target return, as a quantile of the returns of logged sessions. It can be changed after training."""
    context_length: int = count(20, 1, 100_000)
    """K, the number of steps in the context of the Transformer."""
    batch_size: int = count(32, 1, 1_000_000)
    """Windows in a minibatch, of up to K steps each."""
    num_layers: int = count(1, 1, 1_000)
    """Layers of the Transformer."""
    num_heads: int = count(2, 1, 1_000)
    """Attention heads; the width must be a multiple of twice their number."""

    def __post_init__(self, env: Any) -> None:
        super().__post_init__(env)
        if self.width % (2 * self.num_heads):
            raise ValueError(f"width={self.width}: must be a multiple of twice num_heads={self.num_heads}")

    def sizes(self) -> DecisionSizes:
        return DecisionSizes.of(
            self.layout,
            width=self.width,
            slate=self.slate_size,
            context_length=self.context_length,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
        )

    def make_network(self, sizes: Any) -> ReturnConditionedPolicy:
        return ReturnConditionedPolicy(sizes)

    @property
    def target_return(self) -> float:
        """Return-to-go at the start of a session."""
        quantiles = self.network.session_returns.cpu().numpy()
        return float(np.interp(self.target_quantile, np.linspace(0.0, 1.0, _NUM_QUANTILES), quantiles))

    # Training

    def trainable_steps(self, log: LoggedSteps) -> np.ndarray:
        """The steps of complete sessions; a window may start at each."""
        return np.flatnonzero(log.is_complete)

    def start_fit(self, log: LoggedSteps) -> None:
        """Set the statistics of the log in the network."""
        network, complete = self.network, log.is_complete
        returns = log.returns_to_go
        network.return_mean.fill_(float(returns[complete].mean()))
        network.return_sd.fill_(max(float(returns[complete].std()), 1e-3))
        quantiles = np.quantile(returns[complete & log.is_first], np.linspace(0.0, 1.0, _NUM_QUANTILES))
        network.session_returns.copy_(torch.as_tensor(quantiles))
        followed = np.flatnonzero(log.is_followed)[:_MAX_FITTED_STEPS]
        if len(followed):
            slates = self._previous_slates(log.stored["history"][followed + 1])
            network.reward_weights.copy_(torch.as_tensor(fit_reward_weights(slates, log.rewards[followed])))

    def loss(self, log: LoggedSteps, index: np.ndarray) -> torch.Tensor:
        """Mean negative log-likelihood of the slates in windows that start at the steps `index` [B]."""
        steps = index[:, None] + np.arange(self.context_length)
        is_part = steps <= log.last_rows[index][:, None]  # [B, K]
        rows = steps[is_part]
        observations = log.observations(rows)
        seen, mask = self.tensors(observations), torch.as_tensor(is_part, device=self.device)

        def padded(values: torch.Tensor) -> torch.Tensor:
            """[B, K, ...]: values of the rows, zero-padded."""
            out = values.new_zeros((*is_part.shape, *values.shape[1:]))
            out[mask] = values
            return out

        slates = torch.as_tensor(self._previous_slates(observations["history"])).flatten(1).to(self.device)
        states = self.network.states(padded(self.column(log.returns_to_go, rows)), padded(seen["user"]), padded(slates))
        scores = self.network(seen, states[mask])
        shown, is_shown = self.column(log.slates, rows), self.column(log.is_shown, rows)
        return -slate_log_likelihoods(scores, shown, is_shown).mean()

    def _previous_slates(self, histories: np.ndarray) -> np.ndarray:
        """[n, S, T] float32: rows of the last slates in histories [n, H * T]; zeros if there is none."""
        rows, _ = last_slate(histories.reshape(len(histories), *self.layout.history_shape), self.slate_size)
        return rows.astype(np.float32)

    # Acting

    def scores(self, observations: Tensors) -> torch.Tensor:
        raise NotImplementedError("scores depend on the state of the sessions")

    def initial_state(self, num_sessions: int) -> dict[str, Any]:  # type: ignore[override]
        length, layout = self.context_length, self.layout
        return {
            "generator": super().initial_state(num_sessions),
            "lengths": np.zeros(num_sessions, np.int64),
            "returns": np.zeros((num_sessions, length), np.float32),
            "users": np.zeros((num_sessions, length, layout.user_size), np.float32),
            "slates": np.zeros((num_sessions, length, self.slate_size * layout.history_shape[1]), np.float32),
        }

    @torch.no_grad()
    def act(self, observations: Observations, state: Any, episode_start: np.ndarray, deterministic: bool) -> np.ndarray:
        state |= self._with_step(observations, state, episode_start)
        scores = self._scores(observations, state)
        if deterministic:
            return self.top_candidates(scores.cpu().numpy(), observations["candidate_mask"])
        return self.draw(scores, state["generator"])

    @torch.no_grad()
    def log_probabilities(
        self, observations: Observations, actions: np.ndarray, state: State = None, episode_start: Starts = None
    ) -> np.ndarray:
        num_sessions = len(observations["user"])
        is_first = first_steps(state, episode_start, num_sessions)
        state = self.initial_state(num_sessions) if state is None else state
        window = self._with_step(observations, state, is_first)
        return self.log_probabilities_of(self._scores(observations, window), actions)

    def _with_step(self, observations: Observations, state: Any, is_first: np.ndarray) -> dict[str, np.ndarray]:
        """The windows of the sessions, ending with this step; padding follows the steps."""
        slates = self._previous_slates(observations["history"])
        rewards = regressors(slates) @ self.network.reward_weights.cpu().numpy()
        lanes, lengths = np.arange(len(slates)), np.where(is_first, 0, state["lengths"])
        returns = state["returns"][lanes, lengths - 1] - rewards
        returns = np.where(is_first, self.target_return, returns).astype(np.float32)
        is_full = lengths == self.context_length
        lengths = np.where(is_full, lengths, lengths + 1)
        window: dict[str, np.ndarray] = {"lengths": lengths}
        for name, last in (
            ("returns", returns),
            ("users", observations["user"]),
            ("slates", slates.reshape(len(slates), -1)),
        ):
            before = state[name]
            shifts = is_full.reshape(-1, *(1,) * (before.ndim - 1))
            window[name] = np.where(shifts, np.roll(before, -1, axis=1), before)
            window[name][lanes, lengths - 1] = last
        return window

    def _scores(self, observations: Observations, window: dict[str, np.ndarray]) -> torch.Tensor:
        """[N, M]: scores at the last step of each window."""
        steps = self.tensors({name: window[name] for name in ("returns", "users", "slates")})
        last = torch.as_tensor(window["lengths"] - 1, device=self.device)
        states = self.network.states(**steps)[torch.arange(len(last), device=self.device), last]
        return self.network(self.tensors(observations), states)
