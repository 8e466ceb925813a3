"""Off-policy evaluation: the value of a policy from the log of another one, as pure functions of arrays.

`log` is the input, `estimate` the result; the estimators are in `importance_sampling`, `doubly_robust`, `fitted_q` and
`slates`.
"""

from collections.abc import Callable
from types import MappingProxyType

from benchmarks.analysis.off_policy.doubly_robust import direct_method, doubly_robust, switch_doubly_robust
from benchmarks.analysis.off_policy.estimate import OffPolicyEstimate
from benchmarks.analysis.off_policy.fitted_q import fitted_q_evaluation
from benchmarks.analysis.off_policy.importance_sampling import (
    clipped_ips,
    importance_sampling,
    ips,
    per_decision,
    snips,
    weighted_importance_sampling,
    weighted_per_decision,
)
from benchmarks.analysis.off_policy.log import OffPolicyLog
from benchmarks.analysis.off_policy.slates import (
    SlateLog,
    cascade_doubly_robust,
    item_position,
    reward_interaction,
)

WEIGHTING = MappingProxyType(
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
"""Estimators of an `OffPolicyLog` that read no predicted values, by name."""

MODEL_BASED: MappingProxyType[str, Callable[[OffPolicyLog], OffPolicyEstimate]] = MappingProxyType(
    {"DM": direct_method, "DR": doubly_robust, "SWITCH-DR": switch_doubly_robust}
)
"""Estimators that read the log's predicted values, by name."""

__all__ = [
    "MODEL_BASED",
    "WEIGHTING",
    "OffPolicyEstimate",
    "OffPolicyLog",
    "SlateLog",
    "cascade_doubly_robust",
    "clipped_ips",
    "direct_method",
    "doubly_robust",
    "fitted_q_evaluation",
    "importance_sampling",
    "ips",
    "item_position",
    "per_decision",
    "reward_interaction",
    "snips",
    "switch_doubly_robust",
    "weighted_importance_sampling",
    "weighted_per_decision",
]
