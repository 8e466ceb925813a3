"""The input of off-policy estimators, from steps of a vector env: the probabilities that an agent gives to the actions.

The steps may be those of a replayed log or of a loop over an env. The agent is asked for the log-probability of each
logged action and, for single items, for those of all candidates, which the value model needs.

Shape legend: N lanes, M candidates, S slots, R rows, F features.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from agents.agent import Agent
from agents.off_policy import OffPolicyLog

_TOLERANCE = 1e-3
"""Largest accepted difference between 1 and the sum of the probabilities of all candidates."""


class LoggedStep(Protocol):
    """One step of N sessions side by side."""

    @property
    def observations(self) -> Any:
        """Observations before the step, of the kind that the agent reads."""

    @property
    def actions(self) -> np.ndarray:
        """[N] or [N, S] integers: the candidates shown."""

    @property
    def log_propensities(self) -> np.ndarray:
        """[N]: log-probabilities of the actions under the policy that wrote the log; NaN where unknown."""

    @property
    def rewards(self) -> np.ndarray:
        """[N]."""

    @property
    def terminated(self) -> np.ndarray:
        """[N] bool."""

    @property
    def truncated(self) -> np.ndarray:
        """[N] bool."""

    @property
    def episode_start(self) -> np.ndarray:
        """[N] bool: the first step of a session."""


@dataclass(frozen=True, kw_only=True)
class PolicyLog:
    """A log as one agent sees it."""

    log: OffPolicyLog
    """Whole sessions, in the order in which they started."""
    features: np.ndarray | None
    """[R, F] features of the logged actions, for `fitted_q`; None for slates, and for observations without features."""
    policy_features: np.ndarray | None
    """[R, F] mean features of the agent's actions, weighted by its probabilities."""
    num_dropped_rows: int
    """Number of rows of sessions that had not ended when the log ends."""


def policy_log(
    steps: Iterable[LoggedStep], agent: Agent, feature_steps: Iterable[LoggedStep] | None = None
) -> PolicyLog:
    """The log of the steps with the agent's probabilities.

    An agent with a memory is shown every observation, as in play; its state must depend on observations alone.

    Args:
        steps: steps of the log, with the observations that the agent reads.
        agent: the policy to evaluate, in an env like that of the log.
        feature_steps: the same steps with observations that have features, for an agent that reads `"compact"` ones.

    Raises:
        NotImplementedError: the agent's policy is deterministic, or has no probabilities in closed form.
        ValueError: unknown propensities; no session that ends; probabilities of candidates that do not add up to 1.
    """
    columns: list[dict[str, np.ndarray]] = []
    state, has_memory = None, True
    lane_sessions, num_sessions = np.zeros(0, np.int64), 0
    pairs = ((step, step) for step in steps) if feature_steps is None else zip(steps, feature_steps, strict=True)
    for step, feature_step in pairs:
        starts = np.asarray(step.episode_start, np.bool_)
        if not columns:
            lane_sessions = np.full(len(starts), -1)
        is_new = starts | (lane_sessions < 0)
        lane_sessions = np.where(is_new, num_sessions + np.cumsum(is_new) - 1, lane_sessions)
        num_sessions += int(is_new.sum())
        columns.append(
            {
                "sessions": lane_sessions,
                "rewards": step.rewards,
                "behaviour": step.log_propensities,
                "is_over": step.terminated | step.truncated,
                "is_logged": np.asarray(getattr(step, "is_logged", np.ones(len(starts), np.bool_))),
                **_agent_columns(agent, step, feature_step.observations, state, starts),
            }
        )
        if has_memory:
            _, state = agent.predict(step.observations, state, starts, deterministic=False)
            has_memory = state is not None
    if not columns:
        raise ValueError("no steps: the log is empty")
    return _of_whole_sessions({name: np.concatenate([each[name] for each in columns]) for name in columns[0]})


def _of_whole_sessions(rows: dict[str, np.ndarray]) -> PolicyLog:
    """The rows of sessions that end, session by session."""
    rows = {name: values[rows["is_logged"]] for name, values in rows.items()}
    ended = rows["sessions"][rows["is_over"]]
    if not len(ended):
        raise ValueError(f"no session ends within the {len(rows['sessions'])} rows: log more steps")
    is_kept = np.isin(rows["sessions"], ended)
    order = np.argsort(rows["sessions"], kind="stable")
    order = order[is_kept[order]]
    rows = {name: values[order] for name, values in rows.items()}
    if np.isnan(rows["behaviour"]).any():
        num_unknown = int(np.isnan(rows["behaviour"]).sum())
        raise ValueError(f"propensities of {num_unknown} of {len(order)} rows are unknown: log a policy that has them")
    sessions = rows["sessions"]
    first = np.flatnonzero(np.concatenate([[True], np.diff(sessions) > 0]))
    steps = np.arange(len(sessions)) - np.repeat(first, np.diff(np.append(first, len(sessions))))
    log = OffPolicyLog(
        sessions=sessions,
        steps=steps,
        rewards=rows["rewards"],
        behaviour_log_probabilities=rows["behaviour"],
        evaluation_log_probabilities=rows["evaluation"],
    )
    return PolicyLog(
        log=log,
        features=rows.get("features"),
        policy_features=rows.get("policy_features"),
        num_dropped_rows=int((~is_kept).sum()),
    )


def _agent_columns(
    agent: Agent, step: LoggedStep, featured: Any, state: Any, starts: np.ndarray
) -> dict[str, np.ndarray]:
    """Log-probabilities of the logged actions and, for single items, features from the observations `featured`."""
    observations, actions = step.observations, np.array(step.actions)  # a copy: replayed ones are read-only
    found = {"evaluation": agent.log_probabilities(observations, actions, state, starts)}
    parts = featured if isinstance(featured, dict) else agent.layout.parts(featured)
    if actions.ndim == 1 and "candidates" in parts:
        states, candidates = value_features(parts)
        mask = parts["candidate_mask"] > 0
        probabilities = np.zeros(mask.shape)
        for candidate in np.flatnonzero(mask.any(0)):
            chosen = np.full(len(actions), candidate)
            probabilities[:, candidate] = np.exp(agent.log_probabilities(observations, chosen, state, starts))
        probabilities *= mask
        totals = probabilities.sum(1)
        if np.abs(totals - 1.0).max() > _TOLERANCE:
            worst = totals[np.abs(totals - 1.0).argmax()]
            raise ValueError(
                f"{type(agent).__name__}.log_probabilities: probabilities of the candidates add up to {worst:.3f}"
            )
        found |= with_actions(states, candidates, actions, probabilities)
    return found


def value_features(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Features of a linear model of q: [N, F1] of the state and [N, M, F2] of each candidate.

    Those of the state are a constant, the columns of the user, and the mean over the available candidates.
    """
    mask = (parts["candidate_mask"] > 0).astype(np.float64)
    candidates = parts["candidates"].reshape(*mask.shape, -1).astype(np.float64)
    means = np.einsum("nm,nmf->nf", mask, candidates) / np.maximum(mask.sum(1, keepdims=True), 1.0)
    return np.concatenate([np.ones((len(mask), 1)), parts["user"], means], 1), candidates


def with_actions(
    states: np.ndarray, candidates: np.ndarray, actions: np.ndarray, probabilities: np.ndarray
) -> dict[str, np.ndarray]:
    """`features` [N, F] of the actions [N], and `policy_features` [N, F], their mean under probabilities [N, M]."""
    chosen = candidates[np.arange(len(actions)), actions]
    means = np.einsum("nm,nmf->nf", probabilities, candidates)
    return {"features": np.concatenate([states, chosen], 1), "policy_features": np.concatenate([states, means], 1)}
