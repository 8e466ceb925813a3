"""Policies for sb3-contrib that score all candidates with one network. Importing this file needs sb3-contrib.

Shape legend: B batch, M candidates, G features of a candidate, T features of a row of the history, E width of the
embeddings, L width of the LSTM, D width of a match, K quantiles.
"""

from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy, QuantileNetwork
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from recsim_env.sb3.candidate_scorer import CandidateScorer
from recsim_env.sb3.network_units import with_network_units
from recsim_env.sb3.policies import (
    CandidateActorCritic,
    CandidatePolicy,
    CandidateWise,
    sizes_of,
)


class CandidateMaskablePolicy(CandidateActorCritic, MaskableActorCriticPolicy):
    """For MaskablePPO. Missing candidates have the lowest score anyway, so the masks change nothing."""


class StateAndCandidates(BaseFeaturesExtractor):
    """`"full"` observations to [B, E + T + M + M * G]: the user's state and the item shown last, both for the LSTM;
    then the scores and the candidates, which bypass it.

    `features_dim` is the input size of the LSTM: E + T.
    """

    def __init__(self, observation_space: spaces.Dict, width: int) -> None:
        sizes = sizes_of(observation_space, width)
        super().__init__(observation_space, width + sizes.row)
        self.num_candidates, self.candidate = observation_space["candidate_mask"].shape[0], sizes.candidate  # type: ignore[index]
        self.scorer = CandidateScorer(sizes)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        state, scores = self.scorer(observations)
        last = observations["history"][:, : self.scorer.sizes.row]
        return torch.cat([state, last, scores, observations["candidates"]], 1)


class _ScoresAndMemory(nn.Module):
    """From [B, L + M + M * G], the LSTM's output m and the features that bypass it, to logits and to the features of
    the value.

    The logit of candidate c is its score + (P m)'(Q c), divided by sqrt(D).
    """

    def __init__(self, memory: int, num_candidates: int, candidate: int) -> None:
        super().__init__()
        self.sizes = [memory, num_candidates, num_candidates * candidate]
        self.latent_dim_pi, self.latent_dim_vf = num_candidates, memory
        self.of_memory = nn.Linear(memory, memory // 4)
        self.of_candidate = nn.Linear(candidate, memory // 4)

    def forward_actor(self, latent: torch.Tensor) -> torch.Tensor:
        memory, scores, candidates = latent.split(self.sizes, 1)
        matched = self.of_candidate(with_network_units(candidates.unflatten(1, (scores.shape[1], -1))))  # [B, M, D]
        return scores + (matched * self.of_memory(memory).unsqueeze(1)).sum(2) / matched.shape[2] ** 0.5

    def forward_critic(self, latent: torch.Tensor) -> torch.Tensor:
        return latent[:, : self.sizes[0]]


class CandidateRecurrentPolicy(CandidateActorCritic, RecurrentActorCriticPolicy):
    """For RecurrentPPO: a match with the LSTM's output is added to the candidates' scores. The critic has its own LSTM.

    Args:
        width: E, and the default of `lstm_hidden_size`, L.
    """

    extractor_class = StateAndCandidates

    def __init__(self, *args: Any, width: int = 64, **kwargs: Any) -> None:
        super().__init__(*args, width=width, **{"lstm_hidden_size": width, **kwargs})

    def _build_mlp_extractor(self) -> None:
        extractor: Any = self.features_extractor
        self.mlp_extractor = _ScoresAndMemory(self.lstm_output_dim, extractor.num_candidates, extractor.candidate)

    @staticmethod
    def _process_sequence(
        features: torch.Tensor, lstm_states: Any, episode_starts: torch.Tensor, lstm: nn.LSTM
    ) -> tuple[torch.Tensor, Any]:
        inputs, bypass = features[:, : lstm.input_size], features[:, lstm.input_size :]
        process = RecurrentActorCriticPolicy._process_sequence
        memory, states = process(inputs, lstm_states, episode_starts, lstm)
        return torch.cat([memory, bypass], 1), states


class _CandidateQuantiles(QuantileNetwork):
    """The quantiles of candidate c for the user's state h: its score + w_k' relu(W [h, c])."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scorer: Any = self.features_extractor
        size = scorer.width + scorer.scorer.sizes.candidate
        self.quantile_net = nn.Sequential(
            nn.Linear(size, scorer.width), nn.ReLU(), nn.Linear(scorer.width, self.n_quantiles)
        )

    def forward(self, obs: Any) -> torch.Tensor:
        """[B, K, M]."""
        scorer: Any = self.features_extractor
        state, scores = self.extract_features(obs, scorer).split([scorer.width, scorer.num_candidates], 1)
        candidates = with_network_units(obs["candidates"].unflatten(1, (scorer.num_candidates, -1)))
        state_and_candidate = torch.cat([state.unsqueeze(1).expand(-1, scorer.num_candidates, -1), candidates], 2)
        return (scores.unsqueeze(2) + self.quantile_net(state_and_candidate)).transpose(1, 2)


class CandidateQuantilePolicy(CandidateWise, QRDQNPolicy):
    """For QR-DQN: the quantiles of a candidate's return from its own features and the user's state.

    Args:
        width: E.
    """

    def make_quantile_net(self) -> QuantileNetwork:
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return _CandidateQuantiles(**arguments).to(self.device)


CONTRIB_POLICIES: dict[str, type[BasePolicy]] = {
    "TRPO": CandidatePolicy,
    "RecurrentPPO": CandidateRecurrentPolicy,
    "MaskablePPO": CandidateMaskablePolicy,
    "QRDQN": CandidateQuantilePolicy,
}
"""The candidate-wise policy for each algorithm of sb3-contrib."""
