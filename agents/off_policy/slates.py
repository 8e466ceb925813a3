"""Estimators for slates that use the reward of each slot, under an assumption about how users examine a slate.

The propensity of a whole slate is tiny. `item_position` assumes that the reward of a slot depends only on its own item;
`reward_interaction` and `cascade_doubly_robust` assume that it also depends on the items above, as for a user who
examines the slate from the top down. That is the structure of a session, with slots in place of steps: they are the
per-decision and the doubly robust estimator of `SlateLog.as_decisions`. `importance_sampling` of the same decisions
weights whole slates, without an assumption.

Shape legend: R rows (one slate each), S slots, E sessions.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agents.off_policy.doubly_robust import doubly_robust
from agents.off_policy.estimate import (
    OffPolicyEstimate,
    estimate,
    smallest_kish_size,
    support_warning,
)
from agents.off_policy.importance_sampling import per_decision, weighted_per_decision
from agents.off_policy.log import OffPolicyLog, integers, log_probabilities, numbers
from recsim_env.config import check_number


@dataclass(frozen=True, kw_only=True, eq=False)
class SlateLog:
    """Logged slates in complete sessions, slot by slot from the top.

    Probabilities are *conditional* on the items above: their product is the probability of the slate. Only
    `item_position` needs *marginal* ones, of the item in its slot; they are the same if a policy fills each slot
    independently. An empty slot has reward 0 and log-probability 0 under both policies.

    Raises:
        ValueError: as for `OffPolicyLog`.
    """

    sessions: np.ndarray
    """[R] integers, ascending."""
    steps: np.ndarray
    """[R] integers, 0, 1, 2, ... in each session."""
    slot_rewards: np.ndarray
    """[R, S]: rewards of the slots, which sum to the reward."""
    behaviour_log_probabilities: np.ndarray
    """[R, S], finite, at most 0; conditional."""
    evaluation_log_probabilities: np.ndarray
    """[R, S], at most 0, or -inf; conditional."""
    behaviour_marginals: np.ndarray | None = None
    """[R, S] log-probabilities, finite, at most 0; marginal."""
    evaluation_marginals: np.ndarray | None = None
    """[R, S] log-probabilities, at most 0, or -inf; marginal."""
    action_values: np.ndarray | None = None
    """[R, S] predicted return from this slot on, including slots below and later steps, given the items down to it."""
    state_values: np.ndarray | None = None
    """[R, S] mean of `action_values` over the evaluation policy's choices for this slot, given the items above."""
    gamma: float = 1.0
    """Discount factor in [0, 1] from step to step; there is no discounting within a slate."""

    def __post_init__(self) -> None:
        check_number("gamma", self.gamma, 0.0, 1.0)
        shape = np.shape(self.slot_rewards)
        if len(shape) != 2 or not shape[0] or not shape[1]:
            raise ValueError(f"slot_rewards of shape {shape}: must be [rows, slots], with at least one of each")
        if (self.behaviour_marginals is None) != (self.evaluation_marginals is None):
            raise ValueError("behaviour_marginals and evaluation_marginals: give both or neither")
        for name in ("sessions", "steps"):
            object.__setattr__(self, name, integers(name, getattr(self, name)))
        object.__setattr__(self, "slot_rewards", numbers("slot_rewards", self.slot_rewards, shape))
        for name in ("behaviour_log_probabilities", "evaluation_log_probabilities"):
            object.__setattr__(self, name, log_probabilities(name, getattr(self, name), shape))
        for name in ("behaviour_marginals", "evaluation_marginals"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, log_probabilities(name, getattr(self, name), shape))
        if self.behaviour_marginals is not None and np.isneginf(self.behaviour_marginals).any():
            raise ValueError("behaviour_marginals: a logged item must have a probability above 0 in its slot")
        for name in ("action_values", "state_values"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, numbers(name, getattr(self, name), shape))
        _ = self.as_slates, self.as_decisions  # check the rest

    @cached_property
    def as_slates(self) -> OffPolicyLog:
        """The log with one row for each slate: R rows."""
        return OffPolicyLog(
            sessions=self.sessions,
            steps=self.steps,
            rewards=self.slot_rewards.sum(1),
            behaviour_log_probabilities=self.behaviour_log_probabilities.sum(1),
            evaluation_log_probabilities=self.evaluation_log_probabilities.sum(1),
            gamma=self.gamma,
        )

    @cached_property
    def as_decisions(self) -> OffPolicyLog:
        """The log with one row for each slot: R S rows. Rewards and values are already discounted by gamma^step."""
        num_slots = self.slot_rewards.shape[1]
        discounts = np.power(self.gamma, self.steps)[:, None]
        values = self.action_values, self.state_values
        action_values, state_values = (None if each is None else (discounts * each).ravel() for each in values)
        return OffPolicyLog(
            sessions=np.repeat(self.sessions, num_slots),
            steps=(num_slots * self.steps[:, None] + np.arange(num_slots)).ravel(),
            rewards=(discounts * self.slot_rewards).ravel(),
            behaviour_log_probabilities=self.behaviour_log_probabilities.ravel(),
            evaluation_log_probabilities=self.evaluation_log_probabilities.ravel(),
            action_values=action_values,
            state_values=state_values,
        )


def _check_slates(slates: object) -> None:
    """`TypeError` unless the log is a `SlateLog`."""
    if not isinstance(slates, SlateLog):
        raise TypeError(
            f"slates of type {type(slates).__name__}: must be a SlateLog, with rewards and probabilities of slots"
        )


def item_position(slates: SlateLog) -> OffPolicyEstimate:
    """Mean over sessions of sum_t gamma^t w_{t-1} sum_k rho_tk r_tk, rho_tk = pi(item, slot k) / beta(item, slot k).

    Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay and Wen, "Offline evaluation of ranking policies with click
    models", KDD 2018 (item-position model), for sessions of one step; w_{t-1}, the ratio of previous slates, extends it
    to longer ones. Biased if the reward of a slot depends on other slots.

    Raises:
        ValueError: the log has no marginal probabilities.
    """
    _check_slates(slates)
    if slates.behaviour_marginals is None or slates.evaluation_marginals is None:
        raise ValueError("behaviour_marginals: item_position needs the marginal probabilities of each slot")
    log = slates.as_slates
    ratios = np.exp(slates.evaluation_marginals - slates.behaviour_marginals)
    weights = log.previous_weights[:, None] * ratios
    contributions = log.session_sums(log.discounts * (weights * slates.slot_rewards).sum(1))
    size = min(smallest_kish_size(log, column) for column in weights.T)
    warnings = [support_warning(column) for column in ratios.T]
    return estimate(contributions.mean(), contributions, size, next(filter(None, warnings), ""))


def reward_interaction(slates: SlateLog, is_self_normalized: bool = False) -> OffPolicyEstimate:
    """Mean over slates of sum_k w_k r_k, w_k = rho_1 ... rho_k: no reward is weighted by items below its slot.

    McInerney, Brost, Chandar, Mehrotra and Carterette, "Counterfactual evaluation of slate recommendations with
    sequential reward interactions", KDD 2020 (RIPS). With self-normalisation, the weights of each slot are divided by
    their mean. Biased if the reward of a slot depends on the items below it.
    """
    _check_slates(slates)
    return (weighted_per_decision if is_self_normalized else per_decision)(slates.as_decisions)


def cascade_doubly_robust(slates: SlateLog) -> OffPolicyEstimate:
    """Mean over slates of sum_k (w_{k-1} v_k + w_k (r_k - q_k)), where q_k and v_k predict slot k and all below it.

    Kiyohara, Saito, Matsuhiro, Narita, Shimizu and Yamamoto, "Doubly robust off-policy evaluation for ranking policies
    under the cascade behavior model", WSDM 2022. Unbiased whenever `reward_interaction` is, for any model that is
    fitted to other sessions.

    Raises:
        ValueError: the log has no predicted values.
    """
    _check_slates(slates)
    return doubly_robust(slates.as_decisions)
