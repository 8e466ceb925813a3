"""Stable-Baselines3's policies with one scorer that all candidates share.

Shape legend: B batch, M candidates, E width of the embeddings.
"""

from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from agents.candidate_scorer import CandidateScorer, ScorerSizes
from recsim_env.observation import FEEDBACK


class StateAndScores(BaseFeaturesExtractor):
    """`"dict"` observations to [B, E + M]: the person's state, then a score for each candidate."""

    def __init__(self, observation_space: spaces.Dict, num_content_features: int, width: int = 64) -> None:
        lengths = {name: box.shape[0] for name, box in observation_space.spaces.items()}  # type: ignore[index]
        self.num_candidates, self.width = lengths["candidate_mask"], width
        super().__init__(observation_space, width + self.num_candidates)
        self.scorer = CandidateScorer(
            ScorerSizes(
                user=lengths["user"],
                row=num_content_features + len(FEEDBACK),
                candidate=lengths["candidates"] // self.num_candidates,
                width=width,
            )
        )

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


def _check_action_space(action_space: gymnasium.Space) -> None:
    if not isinstance(action_space, spaces.Discrete):
        raise ValueError(f"action space {action_space}: a candidate-wise policy needs Discrete, one item a step")


class CandidateActorCriticPolicy(ActorCriticPolicy):
    """For PPO and A2C: the policy is the softmax of the scores, the value a linear function of the state."""

    def __init__(self, *args: Any, num_content_features: int, **kwargs: Any) -> None:
        _check_action_space(args[1] if len(args) > 1 else kwargs["action_space"])
        kwargs["features_extractor_class"] = StateAndScores
        kwargs["features_extractor_kwargs"] = {"num_content_features": num_content_features}
        kwargs["ortho_init"] = False
        super().__init__(*args, **kwargs)
        self._num_content_features = num_content_features

    def _build_mlp_extractor(self) -> None:
        scorer = self.features_extractor
        self.mlp_extractor = _ScoresAndState(scorer.width, scorer.num_candidates)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.action_net = nn.Identity()  # the scores are the logits
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = super()._get_constructor_parameters()
        parameters["num_content_features"] = self._num_content_features
        return parameters


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
    """For DQN: the Q-value of a candidate from its own features and the person's state."""

    def __init__(self, *args: Any, num_content_features: int, **kwargs: Any) -> None:
        _check_action_space(args[1] if len(args) > 1 else kwargs["action_space"])
        kwargs["features_extractor_class"] = StateAndScores
        kwargs["features_extractor_kwargs"] = {"num_content_features": num_content_features}
        self._num_content_features = num_content_features
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> QNetwork:
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return _CandidateQNetwork(**arguments).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = super()._get_constructor_parameters()
        parameters["num_content_features"] = self._num_content_features
        return parameters


CANDIDATE_POLICIES: dict[str, type[BasePolicy]] = {
    "PPO": CandidateActorCriticPolicy,
    "A2C": CandidateActorCriticPolicy,
    "DQN": CandidateQPolicy,
}
