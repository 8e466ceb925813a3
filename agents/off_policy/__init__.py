"""Off-policy evaluation: estimates the value of a policy from the log of another, with pure functions of arrays.

`log` has the input and `estimate` the result; estimators are in `importance_sampling`, `doubly_robust`, `fitted_q` and
`slates`; `every_estimator` runs all of those for single items.
"""

from agents.off_policy.doubly_robust import direct_method, doubly_robust, switch_doubly_robust
from agents.off_policy.estimate import OffPolicyEstimate, difference
from agents.off_policy.every_estimator import MODEL_BASED, WEIGHTING, estimates
from agents.off_policy.fitted_q import fitted_q_evaluation
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
from agents.off_policy.slates import (
    SlateLog,
    cascade_doubly_robust,
    item_position,
    reward_interaction,
)

__all__ = [
    "MODEL_BASED",
    "WEIGHTING",
    "OffPolicyEstimate",
    "OffPolicyLog",
    "SlateLog",
    "cascade_doubly_robust",
    "clipped_ips",
    "difference",
    "direct_method",
    "doubly_robust",
    "estimates",
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
