"""Policies that collect a log, and the probabilities (propensities) with which they choose.

Shape legend: N lanes, S slots of a slate, M candidates.
"""

import importlib
import inspect
import math
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from recsim_env.config import check_number

RANDOM = "random"
"""The name of the policy that shows candidates at random."""

_ROUNDING = 1e-5
"""By which rounding may lift a log-probability above 0."""


class LoggingPolicy(Protocol):
    """Chooses for all lanes, and says with which probability."""

    def act(
        self, observations: Any, is_available: np.ndarray, episode_start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Actions for N sessions, and [N] float64 log-probabilities of them, or None if they are unknown.

        `is_available` [N, M] bool marks the candidates that exist, `episode_start` [N] bool the first steps of
        sessions.
        """
        ...

    def state(self) -> dict[str, Any] | None:
        """What the next actions depend on besides the arguments of `act`, for JSON; None if it cannot be saved."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of a policy that was made in the same way."""
        ...


def logging_policy(policy: Any, *, action_space: Any, epsilon: float | None, seed: int) -> LoggingPolicy:
    """The policy that a log is collected with.

    Args:
        policy: `"random"`, or an object with `predict`; see `LogWriter`.
        action_space: of a single session.
        epsilon: see `LogWriter`.
        seed: of random draws.

    Raises:
        ValueError: no such policy, or an epsilon outside its range or without a meaning.
    """
    generator, shape = np.random.default_rng(seed), action_space.shape or ()
    takes_points = isinstance(action_space, spaces.Box)
    if epsilon is not None:
        check_number("epsilon", epsilon, 0.0, 1.0)
        if isinstance(policy, str) or takes_points:
            reason = "points in content space have densities" if takes_points else "random play explores already"
            raise ValueError(f"epsilon={epsilon}: must be left out, as {reason}")
    if isinstance(policy, str):
        if policy != RANDOM:
            raise ValueError(f"policy={policy!r}: must be {RANDOM!r}, or an object with predict()")
        return RandomPoints(shape, generator) if takes_points else RandomSlates(shape, generator)
    if inspect.isclass(policy):
        raise ValueError(f"policy={policy.__name__}: is a class, must be an object with predict()")
    if not callable(getattr(policy, "predict", None)):
        raise ValueError(f"policy={type(policy).__name__}: has no predict(observations, state, episode_start)")
    if epsilon is None:
        return SampledPolicy(policy, takes_points=takes_points)
    return EpsilonGreedy(policy, epsilon, shape, generator)


class _Random:
    """Draws from a generator.

    Args:
        shape: of an action: () for a single item, (S,) for slates, (S * F,) for points.
        generator: source of the draws.
    """

    def __init__(self, shape: tuple[int, ...], generator: np.random.Generator) -> None:
        self._shape, self._generator = shape, generator

    def state(self) -> dict[str, Any]:
        return {"generator": self._generator.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        self._generator.bit_generator.state = state["generator"]


class RandomSlates(_Random):
    """Uniform over ordered slates of distinct available candidates."""

    def act(
        self, observations: Any, is_available: np.ndarray, episode_start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        actions = self.draw(is_available)
        return actions, self.log_probabilities(actions, is_available)

    def draw(self, is_available: np.ndarray) -> np.ndarray:
        """[N] or [N, S] int64; where there are fewer candidates than slots, missing ones come last."""
        keys = np.where(is_available, self._generator.random(is_available.shape), np.inf)
        slates = np.argsort(keys, axis=1, kind="stable")[:, : math.prod(self._shape)]
        return slates.reshape(len(slates), *self._shape)

    def log_probabilities(self, actions: np.ndarray, is_available: np.ndarray) -> np.ndarray:
        """[N] float64: of any actions; -inf for slates that are never drawn.

        One over the number of ordered slates. Where there are fewer candidates than slots, the places of the missing
        ones are not random.
        """
        slates = actions.reshape(len(actions), -1)
        slate_size = slates.shape[1]
        num_left = is_available.sum(1, keepdims=True) - np.arange(slate_size)
        exists = np.take_along_axis(is_available, slates, 1)
        is_drawn = (exists == (num_left > 0)).all(1)
        for slot in range(1, slate_size):
            is_repeated = (slates[:, :slot] == slates[:, slot : slot + 1]).any(1)
            is_drawn &= ~(is_repeated & exists[:, slot])
        return np.where(is_drawn, -np.log(np.maximum(num_left, 1)).sum(1), -np.inf)


class RandomPoints(_Random):
    """Uniform over points in content space; log-probabilities are those of the density."""

    def act(
        self, observations: Any, is_available: np.ndarray, episode_start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        points = 2.0 * self._generator.random((len(is_available), *self._shape), np.float32) - 1.0
        return points, np.full(len(points), -np.log(2.0) * points.shape[1])


class SampledPolicy:
    """A policy as it samples; its probabilities are those of its `log_probabilities`, if it has any."""

    def __init__(self, policy: Any, *, takes_points: bool) -> None:
        self._policy, self._state, self._takes_points = policy, None, takes_points
        self._has_probabilities = callable(getattr(policy, "log_probabilities", None))

    def act(
        self, observations: Any, is_available: np.ndarray, episode_start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        # `predict` updates the state in place, and recurrent policies need the one before.
        before: Any = dict(self._state) if isinstance(self._state, dict) else self._state
        actions, self._state = self._policy.predict(observations, self._state, episode_start, deterministic=False)
        if self._has_probabilities:
            try:
                found = self._policy.log_probabilities(observations, actions, before, episode_start)
            except NotImplementedError:  # a deterministic policy, or one without a closed form
                self._has_probabilities = False
            else:
                return actions, _checked_log_probabilities(found, len(is_available), self._takes_points)
        return actions, None

    def state(self) -> None:
        """Unknown: libraries sample from generators of their own."""

    def restore(self, state: dict[str, Any]) -> None:
        """Never called."""


class EpsilonGreedy:
    """A deterministic policy, with a random slate in its place with probability `epsilon`.

    The probability of a slate is (1 - epsilon) [it is the policy's] + epsilon / (number of ordered slates).

    Args:
        policy: asked with `deterministic=True`.
        epsilon: in [0, 1].
        shape: of an action.
        generator: source of the draws.
    """

    def __init__(self, policy: Any, epsilon: float, shape: tuple[int, ...], generator: np.random.Generator) -> None:
        self._policy, self._state, self._epsilon = policy, None, epsilon
        self._random, self._generator, self._is_checked = RandomSlates(shape, generator), generator, False

    def act(
        self, observations: Any, is_available: np.ndarray, episode_start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if not self._is_checked:
            self._check_deterministic(observations, episode_start)
        greedy, self._state = self._policy.predict(observations, self._state, episode_start, deterministic=True)
        slates = self._random.draw(is_available)
        greedy = _checked_slates(greedy, slates.shape, is_available.shape[1])
        explores = self._generator.random(len(slates)) < self._epsilon
        actions = np.where(explores.reshape(-1, *(1,) * (slates.ndim - 1)), slates, greedy)
        is_greedy = (actions == greedy).reshape(len(actions), -1).all(1)
        of_random = np.exp(self._random.log_probabilities(actions, is_available))
        return actions, np.log((1.0 - self._epsilon) * is_greedy + self._epsilon * of_random)

    def state(self) -> dict[str, Any] | None:
        return self._random.state() if self._state is None else None

    def restore(self, state: dict[str, Any]) -> None:
        self._random.restore(state)

    def _check_deterministic(self, observations: Any, episode_start: np.ndarray) -> None:
        """`ValueError` for a policy that is random even with `deterministic=True`: its propensities would be wrong."""
        one, other = (self._policy.predict(observations, None, episode_start, deterministic=True)[0] for _ in range(2))
        if not np.array_equal(one, other):
            raise ValueError(
                f"epsilon={self._epsilon}: must be left out, as {type(self._policy).__name__} is not deterministic"
            )
        self._is_checked = True


def _checked_slates(actions: Any, shape: tuple[int, ...], num_candidates: int) -> np.ndarray:
    """Actions of a policy as an array of that shape; `ValueError` unless they are indices of candidates."""
    slates = np.asarray(actions)
    is_valid = slates.dtype.kind in "iu" and slates.size == math.prod(shape)
    if not is_valid or slates.min() < 0 or slates.max() >= num_candidates:
        raise ValueError(f"policy: must return indices of candidates, 0 to {num_candidates - 1}, of shape {shape}")
    return slates.reshape(shape)


def _checked_log_probabilities(values: Any, num_sessions: int, takes_points: bool) -> np.ndarray:
    """Those of a policy as [N] float64; `ValueError` unless actions that were drawn have such log-probabilities."""
    found, rule = np.asarray(values), f"must return {num_sessions} finite numbers"
    if found.dtype.kind not in "fiu" or found.shape != (num_sessions,):
        raise ValueError(f"policy.log_probabilities: {rule}, not {found.dtype} of shape {found.shape}")
    is_wrong = ~np.isfinite(found) | (found > (np.inf if takes_points else _ROUNDING))  # densities may exceed 1
    if is_wrong.any():
        limit = "" if takes_points else ", at most 0"
        raise ValueError(
            f"policy.log_probabilities: {rule}{limit}, not {found[is_wrong][0]} for the action of predict()"
        )
    return found.astype(np.float64)


def named_policy(path: str) -> Any:
    """The object that `MODULE:NAME` names.

    Raises:
        ValueError: no such module, or no such name in it.
    """
    module_name, separator, name = path.partition(":")
    if not (separator and module_name and name):
        raise ValueError(f"policy={path!r}: must be {RANDOM!r}, or MODULE:NAME")
    try:
        return getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise ValueError(f"policy={path!r}: {error}") from None
    except AttributeError:
        raise ValueError(f"policy={path!r}: module {module_name} has no {name}") from None


def make_policy(named: Any, env: Any, seed: int) -> Any:
    """A policy for an env: an object with `predict` as it is; a class, or a function, is called with the env.

    It is called with `seed=` as well if it has an argument of that name.

    Raises:
        ValueError: what it is, or returns, has no `predict`.
    """
    if not inspect.isclass(named) and hasattr(named, "predict"):
        return named
    if not callable(named):
        raise ValueError(f"policy={named!r}: must be a class, a function of an env, or an object with predict()")
    signature = inspect.signature(named)
    arguments = {"seed": seed} if "seed" in signature.parameters else {}
    try:
        signature.bind(env, **arguments)
    except TypeError as error:
        raise ValueError(f"policy={named!r}: cannot be called with an env ({error})") from None
    return named(env, **arguments)
