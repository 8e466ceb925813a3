"""Stable-Baselines3 policies for points in content space, each of which selects the candidate nearest to it.

An actor that reads the flattened features of all candidates, and a critic that has to learn which of them a point
selects, learn next to nothing in 100,000 steps. Here the actor sees where the candidates with high scores lie, and the
critic values the item that a point selects.

Shape legend: B batch, M candidates, F content features, G = F + 9 features of a candidate, E width of the embeddings.
"""

from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from agents.networks.torch_learner import Tensors
from recsim_env.sb3.candidate_scorer import CandidateScorer
from recsim_env.sb3.network_units import with_network_units
from recsim_env.sb3.policies import sizes_of
from recsim_env.simulation.observation import CANDIDATE_COLUMNS

FAR = 1e9
"""Squared distance of a candidate that no point selects: larger than any other, and finite."""


def check_shows_points(action_space: gymnasium.Space, num_features: int) -> None:
    """`ValueError` if an action is not a point with that many features."""
    if not isinstance(action_space, spaces.Box) or action_space.shape != (num_features,):
        raise ValueError(
            f"action space {action_space}: must be a Box of {num_features} content features, as in "
            "recsim_env/{scenario}Content-v0"
        )


class AvailableItems:
    """The candidates of a batch of observations in content space.

    Of candidates with equal content the env always shows the first, so the others count as missing.
    """

    def __init__(self, observations: Tensors) -> None:
        mask = observations["candidate_mask"]
        self.items = observations["candidates"].unflatten(1, (mask.shape[1], -1))
        """[B, M, G]."""
        self.contents = self.items[:, :, : -len(CANDIDATE_COLUMNS)].contiguous()
        """[B, M, F]."""
        apart = torch.cdist(self.contents, self.contents, compute_mode="donot_use_mm_for_euclid_dist")
        is_repeated = torch.tril((apart == 0.0) & (mask > 0).unsqueeze(1), -1).any(2)
        self.is_available = (mask > 0) & ~is_repeated
        """[B, M] bool."""

    def squared_distances(self, points: torch.Tensor) -> torch.Tensor:
        """[B, M] from points [B, F]."""
        apart = (self.contents - points.unsqueeze(1)).square().sum(2)
        return apart.masked_fill(~self.is_available, FAR)

    def nearest(self, points: torch.Tensor, num_nearest: int) -> torch.Tensor:
        """[B, k] int64: the candidates nearest to points [B, F], the nearest first."""
        return self.squared_distances(points).topk(num_nearest, dim=1, largest=False).indices

    def item_at(self, points: torch.Tensor, reach: float) -> torch.Tensor:
        """[B, G]: the candidate nearest to each of the points [B, F].

        Its gradient is that of the candidates' mean weighted by softmax(-distance^2 / (2 reach^2)): the item itself
        does not change until another is nearer (Bengio, Leonard and Courville, "Estimating or propagating gradients
        through stochastic neurons", 2013, call this straight-through).
        """
        distances = self.squared_distances(points)
        nearest = distances.argmin(1)[:, None, None].expand(-1, 1, self.items.shape[2])
        smooth = (torch.softmax(distances / (-2.0 * reach**2), 1).unsqueeze(1) @ self.items).squeeze(1)
        return self.items.gather(1, nearest).squeeze(1) + smooth - smooth.detach()


class StateAndAim(BaseFeaturesExtractor):
    """`"full"` observations to [B, E + F]: the user's state, and the mean content of the candidates, weighted by the
    softmax of their scores."""

    def __init__(self, observation_space: spaces.Dict, width: int = 64) -> None:
        sizes = sizes_of(observation_space, width)
        super().__init__(observation_space, width + sizes.candidate - len(CANDIDATE_COLUMNS))
        self.scorer = CandidateScorer(sizes)

    def forward(self, observations: Tensors) -> torch.Tensor:
        state, scores = self.scorer(observations)
        contents = AvailableItems(observations).contents
        return torch.cat([state, (torch.softmax(scores, 1).unsqueeze(1) @ contents).squeeze(1)], 1)


class ItemCritic(BaseModel):
    """Q(s, a) of the item that point a selects, as several estimates.

    All estimates share the user's state h and the score of the item x; each is w' relu(W [h, score, x]). Where
    `num_neighbours` is above 0, the item is the one that `refined` picks near the point.

    Args:
        num_estimates: 2 for the smaller of two (Fujimoto, van Hoof and Meger, "Addressing function approximation
            error in actor-critic methods", 2018), or 1.
        reach: of `AvailableItems.item_at`, in content space, where neighbours are about 0.7 apart.
    """

    num_neighbours = 0

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        *,
        num_estimates: int,
        width: int,
        reach: float,
    ) -> None:
        super().__init__(observation_space, action_space)
        sizes = sizes_of(observation_space, width)
        self.reach = reach
        self.scorer = CandidateScorer(sizes)
        self.estimates = nn.ModuleList(
            nn.Sequential(nn.Linear(width + 1 + sizes.candidate, width), nn.ReLU(), nn.Linear(width, 1))
            for _ in range(num_estimates)
        )

    def forward(self, observations: Tensors, actions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Each estimate [B, 1] of points [B, F]."""
        if self.num_neighbours > 0:
            actions = self.refined(observations, actions, self.num_neighbours)
        judged = self._judged(observations, actions)
        return tuple(estimate(judged) for estimate in self.estimates)

    def q1_forward(self, observations: Tensors, actions: torch.Tensor) -> torch.Tensor:
        """The first estimate [B, 1]."""
        return self.estimates[0](self._judged(observations, actions))

    def of_candidates(self, observations: Tensors) -> torch.Tensor:
        """[B, M]: the smallest estimate of each candidate, available or not."""
        state, scores = self.scorer({**observations, "candidate_mask": torch.ones_like(observations["candidate_mask"])})
        items = with_network_units(AvailableItems(observations).items)
        judged = torch.cat([state.unsqueeze(1).expand(-1, items.shape[1], -1), scores.unsqueeze(2), items], 2)
        return torch.stack([estimate(judged).squeeze(2) for estimate in self.estimates]).amin(0)

    def refined(self, observations: Tensors, points: torch.Tensor, num_neighbours: int) -> torch.Tensor:
        """[B, F]: the content of that item of the `num_neighbours` nearest to points [B, F] with the highest value."""
        available = AvailableItems(observations)
        values = self.of_candidates(observations).masked_fill(~available.is_available, -torch.inf)
        near = available.nearest(points, min(num_neighbours, values.shape[1]))
        best = near.gather(1, values.gather(1, near).argmax(1, keepdim=True))
        return available.contents.gather(1, best.unsqueeze(2).expand(-1, 1, available.contents.shape[2])).squeeze(1)

    def _judged(self, observations: Tensors, actions: torch.Tensor) -> torch.Tensor:
        item = AvailableItems(observations).item_at(actions, self.reach)
        alone = {**observations, "candidates": item, "candidate_mask": torch.ones_like(item[:, :1])}
        state, score = self.scorer(alone)
        return torch.cat([state, score, with_network_units(item)], 1)


class ContentWise:
    """Makes a policy of SB3's SAC or TD3 content-wise. Comes before the policy among the bases of a class.

    Args:
        width: E.
        reach: of the critic.
        num_neighbours: of the target critic.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        *args: Any,
        width: int = 64,
        reach: float = 0.25,
        num_neighbours: int = 0,
        **kwargs: Any,
    ) -> None:
        num_content_features = sizes_of(observation_space, width).candidate - len(CANDIDATE_COLUMNS)
        check_shows_points(action_space, num_content_features)
        self._width, self._reach, self.num_neighbours = width, reach, num_neighbours
        kwargs |= {"features_extractor_class": StateAndAim, "features_extractor_kwargs": {"width": width}}
        super().__init__(observation_space, action_space, *args, **{"net_arch": [width], **kwargs})  # type: ignore[call-arg]

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]
        self.critic_target.num_neighbours = self.num_neighbours  # type: ignore[attr-defined]

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ItemCritic:
        policy: Any = self
        sizes = {"num_estimates": policy.critic_kwargs["n_critics"], "width": self._width, "reach": self._reach}
        return ItemCritic(policy.observation_space, policy.action_space, **sizes).to(policy.device)


class ContentSACPolicy(ContentWise, SACPolicy):
    """For SAC."""


class ContentTD3Policy(ContentWise, TD3Policy):
    """For TD3 and DDPG."""


CONTENT_POLICIES: dict[str, type[BasePolicy]] = {
    "SAC": ContentSACPolicy,
    "TD3": ContentTD3Policy,
    "DDPG": ContentTD3Policy,
}
"""The content-wise policy for each algorithm of SB3 with points in content space as actions."""
