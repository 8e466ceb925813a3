"""Fitted Q evaluation with a linear model: q(s, a) = theta . phi(s, a), fitted by repeated ridge regression.

Le, Voloshin and Yue, "Batch policy learning under constraints", ICML 2019, algorithm 3 (FQE): q is regressed on
r + gamma v(s'), with v of the previous fit, where v(s) is the mean of q(s, a) over the actions of the evaluation
policy. With a linear model that is theta . (mean of phi(s, a) over the actions), so that only the mean features of the
policy are needed.

Shape legend: R rows, E sessions, F features, K folds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.off_policy.estimate import OffPolicyEstimate, estimate
from agents.off_policy.log import OffPolicyLog, check_decisions, numbers
from recsim_env.config import check_number


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """Sums over rows that determine the fit: phi phi^T, gamma phi v'^T (v' the features of the next state), phi r."""

    gram: np.ndarray
    """[..., F, F]."""
    following: np.ndarray
    """[..., F, F]."""
    rewards: np.ndarray
    """[..., F]."""


def fit(
    log: OffPolicyLog, features: Any, policy_features: Any, *, penalty: float = 1e-4, num_folds: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Predict the values of each row with a model that was fitted to other sessions (cross-fitting).

    Chernozhukov et al., "Double/debiased machine learning for treatment and structural parameters", The Econometrics
    Journal 21(1), 2018: with cross-fitted values, `doubly_robust` stays unbiased and its interval valid.

    Args:
        log: the logged decisions; its predicted values, if any, are ignored.
        features: [R, F] phi(s, a) of the logged actions. One feature should be constant, and some should depend on the
            step if the value does.
        policy_features: [R, F] the mean of phi(s, a) over the actions of the evaluation policy.
        penalty: ridge penalty, relative to the mean square of each feature.
        num_folds: K; session e is in fold e modulo K, and is predicted by the model fitted to the other folds.

    Returns:
        `action_values` [R] and `state_values` [R], for `OffPolicyLog.with_values`.

    Raises:
        ValueError: features that are not finite or have another shape; fewer than two sessions.
    """
    phi, mean_phi = _checked(log, features, policy_features)
    check_number("num_folds", num_folds, 2, 1_000, int)
    if log.num_sessions < 2:
        raise ValueError("1 session: cross-fitting needs at least 2")
    num_folds = min(num_folds, log.num_sessions)
    folds = np.repeat(np.arange(log.num_sessions) % num_folds, log.lengths)
    rows_of = [folds == fold for fold in range(num_folds)]
    following = log.gamma * _next(log, mean_phi)
    of_folds = [_moments(phi[rows], following[rows], log.rewards[rows]) for rows in rows_of]
    action_values, state_values = np.empty(len(phi)), np.empty(len(phi))
    for rows, own in zip(rows_of, of_folds, strict=True):
        others = _total([each for each in of_folds if each is not own])
        theta = _Regression(others, penalty, int(log.lengths.max())).theta
        action_values[rows], state_values[rows] = phi[rows] @ theta, mean_phi[rows] @ theta
    return action_values, state_values


def fitted_q_evaluation(
    log: OffPolicyLog, features: Any, policy_features: Any, *, penalty: float = 1e-4
) -> OffPolicyEstimate:
    """Mean of the fitted v(s_0) over sessions; arguments as for `fit`, without cross-fitting.

    The interval covers the sampling of first states and the noise of the regression (delta method; the asymptotic
    variance is that of Hao et al., "Bootstrapping fitted Q-evaluation for off-policy inference", ICML 2021), not the
    error of a model that cannot represent q. No weights are used, so the effective sample size is the number of
    sessions.
    """
    phi, mean_phi = _checked(log, features, policy_features)
    moments = _moments(phi, log.gamma * _next(log, mean_phi), log.rewards)
    regression = _Regression(moments, penalty, int(log.lengths.max()))
    theta = regression.theta
    state_values = mean_phi @ theta
    first = state_values[log.first_rows]
    errors = log.rewards + log.gamma * _next(log, state_values) - phi @ theta
    direction = regression.gradient(mean_phi[log.first_rows].mean(0))
    noise = log.num_sessions * log.session_sums((phi @ direction) * errors)
    warning = "" if regression.converges else "fitted Q evaluation diverges and was stopped; choose other features"
    return estimate(first.mean(), first + noise, float(log.num_sessions), warning)


def _checked(log: OffPolicyLog, features: Any, policy_features: Any) -> tuple[np.ndarray, np.ndarray]:
    check_decisions(log)
    shape = np.shape(features)
    if len(shape) != 2 or shape[0] != len(log.steps) or not shape[1]:
        raise ValueError(f"features of shape {shape}: must be ({len(log.steps)}, F) with F of at least 1")
    return numbers("features", features, shape), numbers("policy_features", policy_features, shape)


def _next(log: OffPolicyLog, values: np.ndarray) -> np.ndarray:
    """Values [R, ...] at the next step; 0 after the last step of a session."""
    following = np.roll(values, -1, 0)
    following[log.last_rows] = 0.0
    return following


def _moments(phi: np.ndarray, following: np.ndarray, rewards: np.ndarray) -> _Moments:
    return _Moments(gram=phi.T @ phi, following=phi.T @ following, rewards=phi.T @ rewards)


def _total(parts: list[_Moments]) -> _Moments:
    return _Moments(
        gram=np.sum([each.gram for each in parts], 0),
        following=np.sum([each.following for each in parts], 0),
        rewards=np.sum([each.rewards for each in parts], 0),
    )


class _Regression:
    """The fit from its moments: theta <- ridge^-1 (rewards + following theta), repeated.

    If the iteration converges, it is solved for its limit. If it diverges, it is stopped after as many fits as the
    longest session has steps; with tabular features, each fit adds a step to the horizon.
    """

    def __init__(self, moments: _Moments, penalty: float, num_fits: int) -> None:
        check_number("penalty", penalty, 1e-12, 1e6)
        squares = np.diag(moments.gram)  # features that are always 0 get a coefficient of 0
        self._ridge = moments.gram + np.diag(np.where(squares > 0.0, penalty * squares, 1.0))
        self._step, self._num_fits = np.linalg.solve(self._ridge, moments.following), num_fits
        self.converges = bool(np.abs(np.linalg.eigvals(self._step)).max() < 1.0 - 1e-9)
        """Whether the iteration converges."""
        self.theta = self._repeated(self._step, np.linalg.solve(self._ridge, moments.rewards))
        """[F]."""

    def gradient(self, mean_features: np.ndarray) -> np.ndarray:
        """[F]: gradient of mean_features . theta with respect to the moments of the rewards."""
        return np.linalg.solve(self._ridge, self._repeated(self._step.T, mean_features))

    def _repeated(self, step: np.ndarray, start: np.ndarray) -> np.ndarray:
        """The sum of step^k start over k: to infinity if it converges."""
        if self.converges:
            return np.linalg.solve(np.eye(len(step)) - step, start)
        total = term = start
        for _ in range(self._num_fits - 1):
            term = step @ term
            total = total + term
        return total
