"""Importance sampling: logged rewards, weighted by the probability ratio of the two policies.

`ips`, `snips` and `clipped_ips` weight each step by the ratio of its own action, as for a contextual bandit. They
ignore that other actions lead to other states, so in sessions of several steps they are biased. The other estimators
weight by all actions so far, which is valid at any length, but with a variance that grows exponentially in the length.

Shape legend: R rows, E sessions, T steps of the longest session.
"""

import numpy as np

from agents.off_policy.estimate import (
    OffPolicyEstimate,
    estimate,
    kish_size,
    smallest_kish_size,
    sums_by_step,
    support_warning,
)
from agents.off_policy.log import OffPolicyLog, check_decisions
from recsim_env.config import check_number


def ips(log: OffPolicyLog) -> OffPolicyEstimate:
    """Inverse propensity score: mean over sessions of sum_t gamma^t rho_t r_t, rho_t = pi(a_t | s_t) / beta(a_t | s_t).

    Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", 1952; for
    contextual bandits Dudik, Langford and Li, "Doubly robust policy evaluation and learning", ICML 2011.
    """
    check_decisions(log)
    return _of_steps(log, log.step_weights, support_warning(log.step_weights))


def clipped_ips(log: OffPolicyLog, max_weight: float = 10.0) -> OffPolicyEstimate:
    """`ips` with rho_t replaced by min(rho_t, max_weight): less variance, biased towards 0.

    Ionides, "Truncated importance sampling", Journal of Computational and Graphical Statistics 17(2), 2008.
    """
    check_decisions(log)
    check_number("max_weight", max_weight, 0.0, np.inf)
    share = float((log.step_weights > max_weight).mean())
    warning = f"{share:.1%} of the weights are clipped at {max_weight:g}" if share >= 0.01 else ""
    return _of_steps(log, np.minimum(log.step_weights, max_weight), warning)


def _of_steps(log: OffPolicyLog, weights: np.ndarray, warning: str) -> OffPolicyEstimate:
    contributions = log.session_sums(log.discounts * weights * log.rewards)
    return estimate(contributions.mean(), contributions, _steps_size(log, weights), warning)


def _steps_size(log: OffPolicyLog, weights: np.ndarray) -> float:
    """Effective sample size in sessions, for weights [R] of single steps."""
    return kish_size(weights) / len(weights) * log.num_sessions


def snips(log: OffPolicyLog) -> OffPolicyEstimate:
    """Self-normalised `ips`: divided by the mean weight rho_t over all rows.

    Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", NeurIPS 2015. Bias of order
    1 / E, with less variance; in sessions of one step, a constant added to all rewards shifts it by that constant.
    """
    check_decisions(log)
    sums = log.session_sums(log.discounts * log.step_weights * log.rewards)
    totals, lengths = log.session_sums(log.step_weights), log.lengths
    size, warning = _steps_size(log, log.step_weights), support_warning(log.step_weights)
    mean_weight = totals.mean() / lengths.mean()
    if mean_weight == 0.0:
        return _undefined(log)
    value = sums.mean() / mean_weight
    # Both means, of weights and of lengths, vary with the sessions.
    contributions = (sums - value * (totals - mean_weight * lengths) / lengths.mean()) / mean_weight
    return estimate(value, contributions, size, warning)


def importance_sampling(log: OffPolicyLog) -> OffPolicyEstimate:
    """Mean over sessions of w G: the return G, weighted by the product w of rho_t over the whole session.

    Precup, Sutton and Singh, "Eligibility traces for off-policy policy evaluation", ICML 2000. Unbiased.
    """
    check_decisions(log)
    weights = log.weights[log.last_rows]
    contributions = weights * log.session_sums(log.discounts * log.rewards)
    return estimate(contributions.mean(), contributions, kish_size(weights), support_warning(weights))


def weighted_importance_sampling(log: OffPolicyLog) -> OffPolicyEstimate:
    """`importance_sampling` divided by the mean weight w: consistent, and within the range of the logged returns.

    Precup, Sutton and Singh, ICML 2000.
    """
    check_decisions(log)
    weights = log.weights[log.last_rows]
    if not weights.any():
        return _undefined(log)
    share = weights / weights.mean()
    returns = log.session_sums(log.discounts * log.rewards)
    value = float((share * returns).mean())
    return estimate(value, share * (returns - value), kish_size(weights), support_warning(weights))


def per_decision(log: OffPolicyLog) -> OffPolicyEstimate:
    """Mean over sessions of sum_t gamma^t w_t r_t, w_t = rho_0 ... rho_t: no reward is weighted by later actions.

    Precup, Sutton and Singh, ICML 2000 (per-decision importance sampling). Unbiased.
    """
    check_decisions(log)
    contributions = log.session_sums(log.discounts * log.weights * log.rewards)
    warning = support_warning(log.weights[log.last_rows])
    return estimate(contributions.mean(), contributions, smallest_kish_size(log, log.weights), warning)


def weighted_per_decision(log: OffPolicyLog) -> OffPolicyEstimate:
    """`per_decision` with the weights of each step divided by their mean over sessions.

    Thomas, "Safe reinforcement learning", PhD thesis, University of Massachusetts Amherst, 2015 (consistent weighted
    per-decision importance sampling). A session that has ended keeps its last weight in that mean.
    """
    check_decisions(log)
    means = sums_by_step(log, log.weights) / log.num_sessions
    if (means == 0.0).any():
        return _undefined(log)
    gains = log.discounts * log.weights * log.rewards
    values = np.bincount(log.steps, gains) / log.num_sessions / means  # of each step
    own = log.session_sums((gains - values[log.steps] * log.weights) / means[log.steps])
    ended = np.append(np.cumsum((values / means)[::-1])[::-1], 0.0)[log.lengths] * log.weights[log.last_rows]
    warning = support_warning(log.weights[log.last_rows])
    return estimate(values.sum(), own - ended, smallest_kish_size(log, log.weights), warning)


def _undefined(log: OffPolicyLog) -> OffPolicyEstimate:
    return estimate(
        np.nan, np.full(log.num_sessions, np.nan), 0.0, "every logged session has probability 0 under this policy"
    )
