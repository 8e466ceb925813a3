"""All estimators for single items by name, and their estimates from a log."""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from agents.off_policy.doubly_robust import direct_method, doubly_robust, switch_doubly_robust
from agents.off_policy.estimate import OffPolicyEstimate
from agents.off_policy.fitted_q import fit, fitted_q_evaluation
from agents.off_policy.importance_sampling import (
    clipped_ips,
    importance_sampling,
    ips,
    per_decision,
    snips,
    weighted_importance_sampling,
    weighted_per_decision,
)
from agents.off_policy.log import OffPolicyLog

Estimators = MappingProxyType[str, Callable[[OffPolicyLog], OffPolicyEstimate]]

WEIGHTING: Estimators = MappingProxyType(
    {
        "IPS": ips,
        "SNIPS": snips,
        "clipped IPS": clipped_ips,
        "IS": importance_sampling,
        "WIS": weighted_importance_sampling,
        "PDIS": per_decision,
        "WPDIS": weighted_per_decision,
    }
)
"""Estimators without predicted values."""

MODEL_BASED: Estimators = MappingProxyType(
    {"DM": direct_method, "DR": doubly_robust, "SWITCH-DR": switch_doubly_robust}
)
"""Estimators that use the predicted values of the log."""


def estimates(
    log: OffPolicyLog, features: np.ndarray | None = None, policy_features: np.ndarray | None = None
) -> dict[str, OffPolicyEstimate]:
    """Estimates of all estimators by name; without features, only of those that need no model.

    Args:
        log: the logged decisions; its predicted values are replaced by cross-fitted ones from `fitted_q.fit`.
        features: [R, F] features of the logged actions.
        policy_features: [R, F] their mean over the actions of the evaluation policy.
    """
    found = {name: estimator(log) for name, estimator in WEIGHTING.items()}
    if features is not None and policy_features is not None:
        log = log.with_values(*fit(log, features, policy_features))
        found |= {name: estimator(log) for name, estimator in MODEL_BASED.items()}
        found["FQE"] = fitted_q_evaluation(log, features, policy_features)
    return found
