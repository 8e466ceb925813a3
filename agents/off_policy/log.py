"""The input of the estimators: logged decisions and their probabilities under two policies, as arrays.

Shape legend: R rows (one decision each), E sessions.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from recsim_env.config import check_number

_MAX_LOG_WEIGHT = 300.0
"""Larger log-weights are clipped to 300, so that squares of weights are finite."""

_TOLERANCE = 1e-6
"""Log-probabilities may exceed 0 by this much, due to rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OffPolicyLog:
    """Decisions of a behaviour policy in complete sessions, with their probabilities under an evaluation policy.

    Rows are in the order of `sessions` and `steps` (`np.lexsort((steps, sessions))`).

    Raises:
        ValueError: inconsistent shapes; a value that is not finite; rows out of order or missing; a logged action
            with probability 0 under the behaviour policy. Probability 0 under the evaluation policy is allowed: that
            row has weight 0.
    """

    sessions: np.ndarray
    """[R] integers, ascending: the session of each row."""
    steps: np.ndarray
    """[R] integers: the step in the session, 0, 1, 2, ..."""
    rewards: np.ndarray
    """[R], in units of the return."""
    behaviour_log_probabilities: np.ndarray
    """[R], finite, at most 0: of the logged action under the behaviour policy."""
    evaluation_log_probabilities: np.ndarray
    """[R], at most 0, or -inf: of the logged action under the evaluation policy."""
    action_values: np.ndarray | None = None
    """[R] q(s, a): predicted return of the logged action and then the evaluation policy, from this step on."""
    state_values: np.ndarray | None = None
    """[R] v(s): the mean of q(s, a) over the actions of the evaluation policy."""
    gamma: float = 1.0
    """Discount factor in [0, 1]; the value of a policy is its expected discounted return of a session."""

    def __post_init__(self) -> None:
        check_number("gamma", self.gamma, 0.0, 1.0)
        for name in ("sessions", "steps"):
            object.__setattr__(self, name, integers(name, getattr(self, name)))
        shape = self.sessions.shape
        if len(shape) != 1 or not shape[0]:
            raise ValueError(f"sessions of shape {shape}: must be one-dimensional, with at least one row")
        for name in _NUMBERS:
            if getattr(self, name) is not None or name not in _VALUES:
                is_log = name.endswith("log_probabilities")
                check = log_probabilities if is_log else numbers
                object.__setattr__(self, name, check(name, getattr(self, name), shape))
        if self.steps.shape != shape:
            raise ValueError(f"steps of shape {self.steps.shape}: must be {shape}, like sessions")
        if (self.action_values is None) != (self.state_values is None):
            raise ValueError("action_values and state_values: give both or neither")
        is_impossible = np.isneginf(self.behaviour_log_probabilities)
        if is_impossible.any():
            row = int(is_impossible.argmax())
            raise ValueError(
                f"behaviour_log_probabilities[{row}]=-inf: a logged action must have a probability above 0 under the "
                f"behaviour policy ({is_impossible.sum()} of {len(is_impossible)} rows have probability 0)"
            )
        self._check_order()

    def _check_order(self) -> None:
        is_first = np.concatenate([[True], np.diff(self.sessions) != 0])
        expected = np.where(is_first, 0, np.concatenate([[0], self.steps[:-1] + 1]))
        is_wrong = (self.steps != expected) | np.concatenate([[False], np.diff(self.sessions) < 0])
        if is_wrong.any():
            row = int(is_wrong.argmax())
            before = f" after session {self.sessions[row - 1]}, step {self.steps[row - 1]}" if row else ""
            raise ValueError(
                f"row {row}: session {self.sessions[row]}, step {self.steps[row]}{before}: rows must be in the order "
                "of sessions and steps, and the steps of a session must be 0, 1, 2, ..."
            )

    def with_values(self, action_values: np.ndarray, state_values: np.ndarray) -> Self:
        """The log with predicted values, such as those of `fitted_q.fit`."""
        return replace(self, action_values=action_values, state_values=state_values)

    @cached_property
    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """`action_values` and `state_values`; `ValueError` if the log has none."""
        if self.action_values is None or self.state_values is None:
            raise ValueError("action_values: the estimator needs predicted values; see fitted_q.fit")
        return self.action_values, self.state_values

    @cached_property
    def first_rows(self) -> np.ndarray:
        """[E] int64: the row of each session's first step."""
        return np.flatnonzero(self.steps == 0)

    @cached_property
    def lengths(self) -> np.ndarray:
        """[E] int64: steps of each session."""
        return np.diff(np.append(self.first_rows, len(self.steps)))

    @property
    def last_rows(self) -> np.ndarray:
        """[E] int64: the row of each session's last step."""
        return self.first_rows + self.lengths - 1

    @property
    def num_sessions(self) -> int:
        """E."""
        return len(self.first_rows)

    @cached_property
    def discounts(self) -> np.ndarray:
        """[R] float64: gamma^step."""
        return np.power(self.gamma, self.steps)

    @cached_property
    def step_weights(self) -> np.ndarray:
        """[R] float64: probability ratio of the logged action, evaluation policy over behaviour policy."""
        return np.exp(np.minimum(self._log_ratios, _MAX_LOG_WEIGHT))

    @cached_property
    def weights(self) -> np.ndarray:
        """[R] float64: product of the probability ratios from the first step of the session to this one."""
        is_zero = np.isneginf(self._log_ratios)
        log_weights = self.running_sum(np.where(is_zero, 0.0, self._log_ratios))
        weights = np.exp(np.minimum(log_weights, _MAX_LOG_WEIGHT))
        return np.where(self.running_sum(is_zero) > 0, 0.0, weights)

    @cached_property
    def previous_weights(self) -> np.ndarray:
        """[R] float64: product of the probability ratios before this step; 1 at the first step."""
        return np.where(self.steps == 0, 1.0, np.roll(self.weights, 1))

    @property
    def _log_ratios(self) -> np.ndarray:
        return self.evaluation_log_probabilities - self.behaviour_log_probabilities

    def running_sum(self, values: np.ndarray) -> np.ndarray:
        """[R]: the sum of values [R] from the session's first step to each row."""
        sums = np.cumsum(values)
        before = sums[self.first_rows] - values[self.first_rows]
        return sums - np.repeat(before, self.lengths)

    def session_sums(self, values: np.ndarray) -> np.ndarray:
        """[E]: the sum of values [R] over each session."""
        return np.add.reduceat(values, self.first_rows)


def check_decisions(log: object) -> None:
    """`TypeError` unless the log is an `OffPolicyLog`."""
    if not isinstance(log, OffPolicyLog):
        raise TypeError(f"log of type {type(log).__name__}: must be an OffPolicyLog, such as as_slates of a SlateLog")


_VALUES = ("action_values", "state_values")
_NUMBERS = ("rewards", "behaviour_log_probabilities", "evaluation_log_probabilities", *_VALUES)


def integers(name: str, values: Any) -> np.ndarray:
    """The values as int64; `ValueError` if they are not integers."""
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} of type {array.dtype}: must be integers")
    return array.astype(np.int64)


def numbers(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The values as float64; `ValueError` if they are not finite or have another shape."""
    array = _as_floats(name, values, shape)
    _refuse(name, array, ~np.isfinite(array), "must be finite")
    return array


def log_probabilities(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The values as float64 in [-inf, 0]; `ValueError` if they are outside or have another shape."""
    array = _as_floats(name, values, shape)
    _refuse(name, array, ~(array <= _TOLERANCE), "must be a log-probability, at most 0")
    return np.minimum(array, 0.0)


def _as_floats(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: must be numbers") from None
    if array.shape != shape:
        raise ValueError(f"{name} of shape {array.shape}: must be {shape}")
    return array


def _refuse(name: str, array: np.ndarray, is_wrong: np.ndarray, allowed: str) -> None:
    if is_wrong.any():
        at = tuple(int(each) for each in np.argwhere(is_wrong)[0])
        raise ValueError(f"{name}[{', '.join(map(str, at))}]={array[at]}: {allowed}")
