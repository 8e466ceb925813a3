"""Bayesian linear regression of rewards on item features, one posterior for each session.

Lindley and Smith, "Bayes estimates for the linear model", JRSS B 1972. The model is shared by all items, with content
in the place of arms. `LinUCB` and `LinearThompson` differ in how they rank, `EmpiricalBayes` in the prior, and
`NeuralLinear` in the features.

Shape legend: N sessions, M candidates, S slots, H rows of the history, F content features, P profile features, U
features of the user, G = F + 9 features of a candidate, d features of the regression.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from agents.agent import Agent, Observations
from agents.rollouts.feedback import UNRATED, feedback_column, last_slate, observed_rewards
from recsim_env.config import number


@dataclass(frozen=True, kw_only=True)
class LinearPrior:
    """reward = x' theta + e, with theta ~ Normal(mean + slopes' p, covariance) and p the user's profile."""

    mean: np.ndarray
    """[d] float64."""
    covariance: np.ndarray
    """[d, d] float64, positive definite."""
    noise_variance: float
    """Variance of e, in squared units of the rating scale."""
    slopes: np.ndarray | None = None
    """[P, d] float64: regression of theta on the profile; None for 0."""
    unrated: float = UNRATED
    """The rating assumed for an item that was consumed but not rated."""

    @classmethod
    def isotropic(cls, size: int, ridge: float) -> "LinearPrior":
        """The uninformative prior: mean 0, covariance I / ridge, noise of variance 1."""
        return cls(mean=np.zeros(size), covariance=np.eye(size) / ridge, noise_variance=1.0)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> "LinearPrior":
        """The inverse of `tensors`; other names are ignored."""
        values: dict[str, Any] = {each.name: tensors.get(each.name) for each in fields(cls)}
        return cls(**values)

    def tensors(self) -> dict[str, np.ndarray]:
        """For a file."""
        return {name: np.asarray(value) for name, value in vars(self).items() if value is not None}

    def means(self, profiles: np.ndarray) -> np.ndarray:
        """[N, d]: the prior means of users with these profiles [N, P]."""
        means = np.broadcast_to(self.mean, (len(profiles), len(self.mean)))
        return means if self.slopes is None else means + profiles.astype(np.float64) @ self.slopes


@dataclass
class PosteriorState:
    """The posterior Normal(A^-1 b, A^-1) of theta in each of N sessions."""

    prior: LinearPrior
    generator: np.random.Generator
    inverse: np.ndarray
    """[N, d, d] float64: A^-1."""
    targets: np.ndarray
    """[N, d] float64: b."""
    x: np.ndarray
    """[N, M, d] float64: features of the candidates in the last step."""
    contents: np.ndarray
    """[N, M, F] float32: their content."""
    slates: np.ndarray
    """[N, S] int64: the candidates that the agent chose."""

    @property
    def num_sessions(self) -> int:
        """N."""
        return len(self.targets)

    @property
    def means(self) -> np.ndarray:
        """[N, d]: A^-1 b."""
        return np.einsum("nij,nj->ni", self.inverse, self.targets)

    def shown(self, slot: int, contents: np.ndarray) -> np.ndarray:
        """[N, d]: features of the items shown in a slot, with these contents [N, F].

        They are those of the agent's own choice, unless its content is another one: a policy that explores has shown a
        slate in the place of the agent's. Of several candidates with the same content, the first one is taken.
        """
        is_shown = (self.contents == contents[:, None]).all(2)
        sessions, own = np.arange(len(contents)), self.slates[:, slot]
        is_own = is_shown[sessions, own] | ~is_shown.any(1)
        features: np.ndarray = self.x[sessions, np.where(is_own, own, is_shown.argmax(1))]
        return features

    def update(self, x: np.ndarray, rewards: np.ndarray, is_new: np.ndarray) -> None:
        """Add an observation x [N, d] with its reward [N] to the posteriors `is_new` [N].

        Sherman and Morrison (1950): (A + x x')^-1 = A^-1 - A^-1 x x' A^-1 / (1 + x' A^-1 x).
        """
        scaled = x * is_new[:, None] / np.sqrt(self.prior.noise_variance)
        direction = np.einsum("nij,nj->ni", self.inverse, scaled)
        divisor = 1.0 + (direction * scaled).sum(1)
        self.inverse -= direction[:, :, None] * direction[:, None, :] / divisor[:, None, None]
        self.targets += x * (is_new * rewards / self.prior.noise_variance)[:, None]


@dataclass(kw_only=True, eq=False, repr=False)
class LinearBandit(Agent):
    """Keeps the posterior Normal(A^-1 b, A^-1) of theta for each session, and ranks candidates by `scores`.

    With a prior of mean m, covariance C and noise variance v: A = C^-1 + sum x x' / v and b = C^-1 m + sum r x / v.
    r is the reward of a shown item: 0 if it was skipped, else its rating minus the neutral rating. An item that was
    consumed but not rated has the prior's `unrated` (3 for the isotropic prior) as its rating. The isotropic prior has
    m = 0, C = I / ridge and v = 1: ridge regression.
    """

    ridge: float = number(1.0, 1e-9, 1e9)
    """Weight of the isotropic prior."""

    state_class: ClassVar[type | None] = PosteriorState

    @property
    def prior(self) -> LinearPrior:
        """The prior of a session: here, the isotropic one."""
        return LinearPrior.isotropic(self.num_features, self.ridge)

    @abstractmethod
    def scores(self, x: np.ndarray, state: PosteriorState) -> np.ndarray:
        """[N, M]: scores of candidates with features x [N, M, d]."""

    @property
    def num_features(self) -> int:
        """d."""
        return self.layout.num_content_features + 1

    def features(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """[N, K, d] float64: features of K items of each user: content and a constant.

        `users` [N, U] and `items` [N, K, G] are as in observations. Of an item in the history only the content is
        known; its other columns are 0, as they are for an item that has just been released.
        """
        return with_constant(items[:, :, : self.layout.num_content_features])

    def initial_state(self, num_sessions: int) -> PosteriorState:
        size = self.num_features
        return PosteriorState(
            prior=self.prior,
            generator=self.new_generator(),
            inverse=np.zeros((num_sessions, size, size)),
            targets=np.zeros((num_sessions, size)),
            x=np.zeros((num_sessions, self.layout.num_candidates, size)),
            contents=np.zeros((num_sessions, self.layout.num_candidates, self.layout.num_content_features), np.float32),
            slates=np.zeros((num_sessions, self.slate_size), np.int64),
        )

    def act(
        self, observations: Observations, state: PosteriorState, episode_start: np.ndarray, deterministic: bool
    ) -> np.ndarray:
        history, users = self.history(observations), observations["user"]
        if not episode_start.all():
            self._update_by_last_slate(state, history, ~episode_start)
        lanes = np.flatnonzero(episode_start)
        if len(lanes):
            self._start_sessions(state, lanes, users[lanes], history[lanes])
        candidates = self.candidates(observations)
        state.x = self.features(users, candidates)
        state.contents = candidates[:, :, : self.layout.num_content_features]
        actions = self.top_candidates(self.scores(state.x, state), observations["candidate_mask"])
        state.slates = actions.reshape(len(users), -1)
        return actions

    def candidate_scores(self, observations: Observations) -> np.ndarray:
        users, number = observations["user"], len(observations["user"])
        state = self.initial_state(number)
        self._start_sessions(state, np.arange(number), users, self.history(observations))
        return self.scores(self.features(users, self.candidates(observations)), state)

    def _start_sessions(self, state: PosteriorState, lanes: np.ndarray, users: np.ndarray, history: np.ndarray) -> None:
        """Set the posteriors of the sessions `lanes` [n]: the prior, updated by the histories of warm users."""
        prior, first = state.prior, self.layout.num_content_features
        items = np.zeros((*history.shape[:2], self.layout.candidates_shape[1]), np.float32)
        items[:, :, :first] = history[:, :, :first]
        feedback = history[:, :, first:]
        is_used = feedback_column(feedback, "shown") > 0
        x = self.features(users, items) * is_used[:, :, None]  # [n, H, d]
        rewards = observed_rewards(feedback, self.layout, prior.unrated)
        precision = np.linalg.inv(prior.covariance)
        means = prior.means(users[:, : self.layout.num_profile_features])
        state.inverse[lanes] = np.linalg.inv(precision + x.transpose(0, 2, 1) @ x / prior.noise_variance)
        state.targets[lanes] = means @ precision + np.einsum("nhd,nh->nd", x, rewards) / prior.noise_variance

    def _update_by_last_slate(self, state: PosteriorState, history: np.ndarray, is_running: np.ndarray) -> None:
        """Learn from the feedback on the last slates, in the sessions `is_running` [N] bool."""
        rows, is_shown = last_slate(history, self.slate_size)
        first = self.layout.num_content_features
        rewards = observed_rewards(rows[:, :, first:], self.layout, state.prior.unrated)
        for slot in range(self.slate_size):
            x = state.shown(slot, rows[:, slot, :first])
            state.update(x, rewards[:, slot], is_shown[:, slot] & is_running)


@dataclass(kw_only=True, eq=False, repr=False)
class LinUCB(LinearBandit):
    """Shows argmax_i x_i' theta + alpha sqrt(x_i' A^-1 x_i), with theta = A^-1 b the mean of the posterior.

    Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article recommendation", WWW
    2010, Algorithm 1: optimism under uncertainty.
    """

    alpha: float = number(1.0, 0.0, 1e9)
    """Standard deviations of optimism."""

    def scores(self, x: np.ndarray, state: PosteriorState) -> np.ndarray:
        variance = np.maximum(((x @ state.inverse) * x).sum(2), 0.0)
        return np.einsum("nmd,nd->nm", x, state.means) + self.alpha * np.sqrt(variance)


@dataclass(kw_only=True, eq=False, repr=False)
class LinearThompson(LinearBandit):
    """Shows argmax_i x_i' theta, with theta ~ Normal(A^-1 b, scale^2 A^-1) drawn in each step.

    It samples whether `deterministic` or not: without the draws it would not explore. Agrawal and Goyal, "Thompson
    sampling for contextual bandits with linear payoffs", ICML 2013; Chapelle and Li, "An empirical evaluation of
    Thompson sampling", NeurIPS 2011, which also shrinks the posterior before sampling.
    """

    scale: float = number(1.0, 0.0, 1e9)
    """Factor of the posterior's standard deviation; 1 is Thompson sampling proper, 0 greedy."""

    def candidate_scores(self, observations: Observations) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__}: draws the scores of candidates at random")

    def scores(self, x: np.ndarray, state: PosteriorState) -> np.ndarray:
        return np.einsum("nmd,nd->nm", x, self.sample(state))

    def sample(self, state: PosteriorState) -> np.ndarray:
        """[N, d]: A^-1 b + scale L z, with L L' = A^-1 (Cholesky) and z standard normal."""
        root = np.linalg.cholesky(state.inverse)
        noise = state.generator.standard_normal(state.targets.shape)
        return state.means + self.scale * np.einsum("nij,nj->ni", root, noise)


def with_constant(contents: np.ndarray) -> np.ndarray:
    """[..., F] to [..., F + 1] float64."""
    constant = np.ones((*contents.shape[:-1], 1))
    return np.concatenate([contents.astype(np.float64), constant], axis=-1)
