"""Stable-Baselines3's policies for one item a step, with one scorer that all candidates share.

Shape legend: B batch, M candidates, G features of a candidate, E width of the embeddings.
"""

from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from recsim_env.envs.sb3.candidate_scorer import CandidateScorer, ScorerSizes
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK


def sizes_of(observation_space: gymnasium.Space, width: int) -> ScorerSizes:
    """What a scorer has to know of `"dict"` observations; `ValueError` for any others."""
    parts = getattr(observation_space, "spaces", None)
    if not isinstance(parts, dict) or set(parts) != {"user", "history", "candidates", "candidate_mask"}:
        raise ValueError(f'observation space {observation_space}: a candidate-wise policy needs observation="dict"')
    candidate = parts["candidates"].shape[0] // parts["candidate_mask"].shape[0]
    row = candidate - len(CANDIDATE_COLUMNS) + len(FEEDBACK)  # content, then what belongs to each
    return ScorerSizes(user=parts["user"].shape[0], row=row, candidate=candidate, width=width)


def check_shows_one_item(action_space: gymnasium.Space) -> None:
    """`ValueError` if actions are not candidates, one a step."""
    if not isinstance(action_space, spaces.Discrete):
        raise ValueError(f"action space {action_space}: a candidate-wise policy needs Discrete, one item a step")


class StateAndScores(BaseFeaturesExtractor):
    """`"dict"` observations to [B, E + M]: the person's state, then a score for each candidate."""

    def __init__(self, observation_space: spaces.Dict, width: int = 64) -> None:
        sizes = sizes_of(observation_space, width)
        self.width, self.num_candidates = width, observation_space["candidate_mask"].shape[0]  # type: ignore[index]
        super().__init__(observation_space, width + self.num_candidates)
        self.scorer = CandidateScorer(sizes)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat(self.scorer(observations), 1)


class _ScoresAndState(nn.Module):
    """Stands where SB3 has its MLP: hands the scores to the policy and the state to the value."""

    def __init__(self, width: int, num_candidates: int) -> None:
        super().__init__()
        self.width = width
        self.latent_dim_pi, self.latent_dim_vf = num_candidates, width

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, self.width :]

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, : self.width]


class CandidateActorCritic:
    """Makes an actor-critic policy of SB3 or sb3-contrib candidate-wise: the policy is the softmax of the scores, the
    value a linear function of the state. To be named before the policy in a class's bases.

    Args:
        width: E.
    """

    extractor_class: type[BaseFeaturesExtractor] = StateAndScores

    def __init__(
        self, observation_space: spaces.Dict, action_space: spaces.Discrete, *args: Any, width: int = 64, **kwargs: Any
    ) -> None:
        check_shows_one_item(action_space)
        kwargs |= {"features_extractor_class": self.extractor_class, "features_extractor_kwargs": {"width": width}}
        kwargs["ortho_init"] = False
        super().__init__(observation_space, action_space, *args, **kwargs)  # type: ignore[call-arg]

    def _build_mlp_extractor(self) -> None:
        scorer: Any = self.features_extractor  # type: ignore[attr-defined]
        self.mlp_extractor: nn.Module = _ScoresAndState(scorer.width, scorer.num_candidates)

    def _build(self, lr_schedule: Any) -> None:
        policy: Any = self
        super()._build(lr_schedule)  # type: ignore[misc]
        policy.action_net = nn.Identity()  # the scores are the logits
        policy.optimizer = policy.optimizer_class(policy.parameters(), lr=lr_schedule(1), **policy.optimizer_kwargs)


class CandidateActorCriticPolicy(CandidateActorCritic, ActorCriticPolicy):
    """For PPO, A2C and TRPO."""


class _CandidateQNetwork(QNetwork):
    """Q is the score, raised by a value of the state that all candidates share."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.q_net = nn.Linear(self.features_extractor.width, 1)

    def forward(self, obs: Any) -> torch.Tensor:
        features = self.extract_features(obs, self.features_extractor)
        width = self.features_extractor.width
        return features[:, width:] + self.q_net(features[:, :width])


class CandidateQPolicy(DQNPolicy):
    """For DQN: the Q-value of a candidate from its own features and the person's state.

    Args:
        width: E.
    """

    def __init__(
        self, observation_space: spaces.Dict, action_space: spaces.Discrete, *args: Any, width: int = 64, **kwargs: Any
    ) -> None:
        check_shows_one_item(action_space)
        kwargs |= {"features_extractor_class": StateAndScores, "features_extractor_kwargs": {"width": width}}
        super().__init__(observation_space, action_space, *args, **kwargs)

    def make_q_net(self) -> QNetwork:
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return _CandidateQNetwork(**arguments).to(self.device)


CANDIDATE_POLICIES: dict[str, type[BasePolicy]] = {
    "PPO": CandidateActorCriticPolicy,
    "A2C": CandidateActorCriticPolicy,
    "DQN": CandidateQPolicy,
}
"""The candidate-wise policy for each algorithm of SB3 that shows one of the candidates."""
