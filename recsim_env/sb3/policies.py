"""Policies for Stable-Baselines3 that score all candidates with one network, for one item a step.

Shape legend: B batch, M candidates, G features of a candidate, E width of the embeddings.
"""

from typing import Any, ClassVar

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from recsim_env.sb3.candidate_scorer import CandidateScorer, ScorerSizes
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK


def sizes_of(observation_space: spaces.Space[Any], width: int) -> ScorerSizes:
    """Sizes of a scorer for `"full"` observations; `ValueError` for other spaces."""
    parts = getattr(observation_space, "spaces", None)
    if not isinstance(parts, dict) or set(parts) != {"user", "history", "candidates", "candidate_mask"}:
        raise ValueError(f'observation space {observation_space}: candidate policies need observation="full"')
    candidate = parts["candidates"].shape[0] // parts["candidate_mask"].shape[0]
    row = candidate - len(CANDIDATE_COLUMNS) + len(FEEDBACK)  # content, then feedback
    return ScorerSizes(user=parts["user"].shape[0], row=row, candidate=candidate, width=width)


def check_shows_one_item(action_space: spaces.Space[Any]) -> None:
    """`ValueError` if an action is not the index of one candidate."""
    if not isinstance(action_space, spaces.Discrete):
        raise ValueError(f"action space {action_space}: candidate policies need Discrete, one item a step")


class StateAndScores(BaseFeaturesExtractor):
    """`"full"` observations to [B, E + M]: the user's state, then a score for each candidate."""

    def __init__(self, observation_space: spaces.Dict, width: int = 64) -> None:
        sizes = sizes_of(observation_space, width)
        self.width, self.num_candidates = width, observation_space["candidate_mask"].shape[0]  # type: ignore[index]
        super().__init__(observation_space, width + self.num_candidates)
        self.scorer = CandidateScorer(sizes)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat(self.scorer(observations), 1)


class _ScoresAndState(nn.Module):
    """In place of SB3's MLP: the scores for the policy, the state for the value."""

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


class CandidateWise:
    """Mixin for policies of SB3 and sb3-contrib, before the policy in the bases of a class: they read the user's state
    and a score for each candidate.

    Args:
        width: E.
    """

    extractor_class: type[BaseFeaturesExtractor] = StateAndScores
    fixed_arguments: ClassVar[dict[str, Any]] = {}
    """Arguments of the policy."""

    def __init__(
        self, observation_space: spaces.Dict, action_space: spaces.Discrete, *args: Any, width: int = 64, **kwargs: Any
    ) -> None:
        check_shows_one_item(action_space)
        kwargs |= {"features_extractor_class": self.extractor_class, "features_extractor_kwargs": {"width": width}}
        super().__init__(observation_space, action_space, *args, **{**kwargs, **self.fixed_arguments})  # type: ignore[call-arg]


class CandidateActorCritic(CandidateWise):
    """For actor-critic policies: the policy is the softmax of the scores, the value a linear function of the state."""

    fixed_arguments: ClassVar[dict[str, Any]] = {"ortho_init": False}

    def _build_mlp_extractor(self) -> None:
        scorer: Any = self.features_extractor  # type: ignore[attr-defined]
        self.mlp_extractor: nn.Module = _ScoresAndState(scorer.width, scorer.num_candidates)

    def _build(self, lr_schedule: Any) -> None:
        policy: Any = self
        super()._build(lr_schedule)  # type: ignore[misc]
        policy.action_net = nn.Identity()  # the scores are the logits
        policy.optimizer = policy.optimizer_class(policy.parameters(), lr=lr_schedule(1), **policy.optimizer_kwargs)


class CandidatePolicy(CandidateActorCritic, ActorCriticPolicy):
    """For PPO, A2C and TRPO: the softmax of one score per candidate, from its features and the user's state.

    ```python
    env = make_sb3_vec_env("recsim_env/Video-v0", num_envs=32, observation="full")
    model = PPO(CandidatePolicy, env, n_steps=64, learning_rate=1e-3, gamma=0.9).learn(33_000)
    ```

    Args:
        width: E, width of the embeddings; give it as `policy_kwargs={"width": 64}`.
    """


class _CandidateQNetwork(QNetwork):
    """Q is the score plus a value of the state."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.q_net = nn.Linear(self.features_extractor.width, 1)

    def forward(self, obs: Any) -> torch.Tensor:
        features = self.extract_features(obs, self.features_extractor)
        width = self.features_extractor.width
        values: torch.Tensor = features[:, width:] + self.q_net(features[:, :width])
        return values


class CandidateQPolicy(CandidateWise, DQNPolicy):
    """For DQN: the Q-value of each candidate from its features and the user's state.

    ```python
    model = DQN(CandidateQPolicy, make_sb3_vec_env("recsim_env/Video-v0", num_envs=8, observation="full"))
    ```

    Args:
        width: E, width of the embeddings; give it as `policy_kwargs={"width": 64}`.
    """

    def make_q_net(self) -> QNetwork:
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return _CandidateQNetwork(**arguments).to(self.device)


CANDIDATE_POLICIES: dict[str, type[BasePolicy]] = {
    "PPO": CandidatePolicy,
    "A2C": CandidatePolicy,
    "DQN": CandidateQPolicy,
}
"""The candidate policy for each algorithm of SB3 with discrete actions."""
