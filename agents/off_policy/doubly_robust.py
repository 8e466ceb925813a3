"""The direct method, and estimators that correct it by importance sampling.

All use the predicted values of the log, `action_values` q(s, a) and `state_values` v(s), such as those of `fitted_q`.

Shape legend: R rows, E sessions.
"""

import numpy as np

from agents.off_policy.estimate import (
    OffPolicyEstimate,
    estimate,
    smallest_kish_size,
    support_warning,
)
from agents.off_policy.log import OffPolicyLog, check_decisions
from recsim_env.config import check_number


def direct_method(log: OffPolicyLog) -> OffPolicyEstimate:
    """Mean of v(s_0) over sessions: as biased as the model.

    Dudik, Langford and Li, "Doubly robust policy evaluation and learning", ICML 2011. The interval covers
    the sampling of first states, not the errors of the model; `fitted_q.fitted_q_evaluation` covers the noise of its
    regression as well.
    """
    check_decisions(log)
    _, state_values = log.values
    values = state_values[log.first_rows]
    return estimate(values.mean(), values, float(log.num_sessions), "")


def doubly_robust(log: OffPolicyLog) -> OffPolicyEstimate:
    """Mean over sessions of sum_t gamma^t (w_{t-1} v(s_t) + w_t (r_t - q(s_t, a_t))), w_t = rho_0 ... rho_t.

    Jiang and Li, "Doubly robust off-policy value evaluation for reinforcement learning", ICML 2016, equation 10, here
    unrolled; for sessions of one step Dudik, Langford and Li, ICML 2011. Unbiased if propensities are correct, for any
    model that is fitted to other sessions; the better the model, the smaller the variance.
    """
    check_decisions(log)
    warning = support_warning(log.weights[log.last_rows])
    return _corrected(log, log.previous_weights, log.weights, warning)


def switch_doubly_robust(log: OffPolicyLog, max_weight: float = 10.0) -> OffPolicyEstimate:
    """`doubly_robust` up to the first weight w_t above `max_weight`, and the model from that step on.

    Wang, Agarwal and Dudik, "Optimal and adaptive off-policy evaluation in contextual bandits", ICML 2017
    (SWITCH-DR), for sessions of one step; here extended to longer ones. `max_weight=0` gives the direct method,
    infinity gives `doubly_robust`.
    """
    check_decisions(log)
    check_number("max_weight", max_weight, 0.0, np.inf)
    is_kept = log.running_sum(log.weights > max_weight) == 0
    was_kept = (log.steps == 0) | np.roll(is_kept, 1)
    share = float(1.0 - is_kept[log.last_rows].mean())
    warning = f"{share:.1%} of the sessions switch to the model" if share >= 0.01 else ""
    return _corrected(log, np.where(was_kept, log.previous_weights, 0.0), np.where(is_kept, log.weights, 0.0), warning)


def _corrected(log: OffPolicyLog, previous: np.ndarray, weights: np.ndarray, warning: str) -> OffPolicyEstimate:
    action_values, state_values = log.values
    parts = log.discounts * (previous * state_values + weights * (log.rewards - action_values))
    contributions = log.session_sums(parts)
    return estimate(contributions.mean(), contributions, smallest_kish_size(log, weights), warning)
