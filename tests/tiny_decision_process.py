"""A decision process small enough to enumerate: two states, two actions, at most three steps.

All probabilities are quarters, so that a log can hold every session exactly as often as its probability says: there,
an estimator that is unbiased, or consistent, equals the truth.
"""

from itertools import product

import numpy as np

from agents.off_policy import OffPolicyLog

LENGTH = 3
REWARDS = np.array([[1.0, -2.0], [3.0, 0.5]])
"""By state and action."""
QUARTERS_TO_STATE_1 = np.array([[1, 2], [2, 3]])
"""Of the next state, by state and action."""
QUARTERS_TO_END = np.array([[0, 1], [0, 0]])
"""Of the end of the session, taken from the quarters of state 0; by state and action."""
BEHAVIOUR, EVALUATION = np.array([[2, 2], [3, 1]]) / 4, np.array([[1, 3], [1, 3]]) / 4
"""Probabilities of actions, by state."""


def sessions(length: int = LENGTH) -> list[tuple[list[tuple[int, int]], int]]:
    """Every session, as its states and actions, with its number of occurrences under the behaviour policy."""
    found = []

    def extend(steps: list[tuple[int, int]], state: int, count: int) -> None:
        for action in range(2):
            taken = count * round(4 * BEHAVIOUR[state, action])
            path, to_one, to_end = [*steps, (state, action)], *_quarters(state, action)
            if len(path) == length:
                found.append((path, taken))
                continue
            if to_end:
                found.append((path, taken * to_end * 16 ** (length - len(path) - 1) * 4))
            for following, quarters in ((0, 4 - to_one - to_end), (1, to_one)):
                if quarters:
                    extend(path, following, taken * quarters)

    for state in range(2):
        extend([], state, 1)
    return found


def _quarters(state: int, action: int) -> tuple[int, int]:
    return int(QUARTERS_TO_STATE_1[state, action]), int(QUARTERS_TO_END[state, action])


def action_values(length: int = LENGTH, gamma: float = 1.0) -> np.ndarray:
    """[length, 2, 2] the evaluation policy's return from each step, state and action on, by backward induction."""
    values = np.zeros((length + 1, 2, 2))
    for step, state, action in product(reversed(range(length)), range(2), range(2)):
        to_one, to_end = _quarters(state, action)
        later = (EVALUATION * values[step + 1]).sum(1)
        following = (to_one * later[1] + (4 - to_one - to_end) * later[0]) / 4
        values[step, state, action] = REWARDS[state, action] + gamma * following
    return values[:length]


def true_value(length: int = LENGTH, gamma: float = 1.0) -> float:
    """The evaluation policy's mean return; both states are equally likely at first."""
    return float((EVALUATION * action_values(length, gamma)[0]).sum(1).mean())


def population(length: int = LENGTH, gamma: float = 1.0) -> tuple[OffPolicyLog, np.ndarray, np.ndarray]:
    """A log with every session as often as its probability says, and the states and actions [R] of its rows."""
    paths = [path for path, count in sessions(length) for _ in range(count)]
    states, actions = (np.array([step[part] for path in paths for step in path]) for part in range(2))
    log = OffPolicyLog(
        sessions=np.repeat(np.arange(len(paths)), [len(path) for path in paths]),
        steps=np.concatenate([np.arange(len(path)) for path in paths]),
        rewards=REWARDS[states, actions],
        behaviour_log_probabilities=np.log(BEHAVIOUR[states, actions]),
        evaluation_log_probabilities=np.log(EVALUATION[states, actions]),
        gamma=gamma,
    )
    return log, states, actions


def with_values(log: OffPolicyLog, states: np.ndarray, actions: np.ndarray, values: np.ndarray) -> OffPolicyLog:
    """The log with values [length, 2, 2] by step, state and action."""
    own = values[log.steps, states]
    return log.with_values(own[np.arange(len(own)), actions], (EVALUATION[states] * own).sum(1))
