"""Logging policies, and the probabilities of their actions (propensities).

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
"""Name of the policy that shows random slates."""

_ROUNDING = 1e-5
"""Log-probabilities may exceed 0 by this much, due to rounding."""


class LoggingPolicy(Protocol):
    """Chooses actions for all lanes, with their probabilities."""

    def act(
        self, observations: Any, is_available: np.ndarray, episode_start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Actions for N sessions, and their [N] float64 log-probabilities, or None if those are unknown.

        `is_available` [N, M] bool marks the available candidates, `episode_start` [N] bool the first steps of sessions.
        """
        ...

    def state(self) -> dict[str, Any] | None:
        """The state that the next actions depend on, for JSON; None if it cannot be saved."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the `state` of a policy that was made in the same way."""
        ...


def logging_policy(policy: Any, *, action_space: Any, epsilon: float | None, seed: int) -> LoggingPolicy:
    """Make the policy that collects a log.

    Args:
        policy: `"random"`, or an object with `predict`; see `LogWriter`.
        action_space: action space of a single session.
        epsilon: see `LogWriter`.
        seed: seed of random draws.

    Raises:
        ValueError: no such policy, or an epsilon that is out of range or does not apply.
    """
    generator, shape = np.random.default_rng(seed), action_space.shape or ()
    takes_points = isinstance(action_space, spaces.Box)
    if epsilon is not None:
        check_number("epsilon", epsilon, 0.0, 1.0)
        if isinstance(policy, str) or takes_points:
            reason = "points in content space have densities" if takes_points else "the random policy explores already"
            raise ValueError(f"epsilon={epsilon}: must be omitted, since {reason}")
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
    """A policy that draws from a generator.

    Args:
        shape: shape of an action: () for a single item, (S,) for slates, (S * F,) for points.
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
        """[N] or [N, S] int64; if there are fewer candidates than slots, unavailable ones come last."""
        keys = np.where(is_available, self._generator.random(is_available.shape), np.inf)
        slates = np.argsort(keys, axis=1, kind="stable")[:, : math.prod(self._shape)]
        return slates.reshape(len(slates), *self._shape)

    @staticmethod
    def log_probabilities(actions: np.ndarray, is_available: np.ndarray) -> np.ndarray:
        """[N] float64: log-probabilities of any actions; -inf for slates that are never drawn.

        The probability is one over the number of ordered slates. If there are fewer candidates than slots, the slots of
        the unavailable ones are not random.
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
    """Uniform over points in content space; log-probabilities are log-densities."""

    def act(
        self, observations: Any, is_available: np.ndarray, episode_start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        points = 2.0 * self._generator.random((len(is_available), *self._shape), np.float32) - 1.0
        return points, np.full(len(points), -np.log(2.0) * points.shape[1])


class SampledPolicy:
    """A policy with `deterministic=False`; propensities come from its `log_probabilities`, if it has that method."""

    def __init__(self, policy: Any, *, takes_points: bool) -> None:
        self._policy, self._state, self._takes_points = policy, None, takes_points
        self._has_probabilities = callable(getattr(policy, "log_probabilities", None))

    def act(
        self, observations: Any, is_available: np.ndarray, episode_start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        # `predict` may update the state in place, and `log_probabilities` needs the state before it.
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
        """None: libraries sample from generators of their own."""

    def restore(self, state: dict[str, Any]) -> None:
        """Not supported, as `state` is None."""


class EpsilonGreedy:
    """A deterministic policy that is replaced by a random slate with probability `epsilon`.

    The probability of a slate is (1 - epsilon) [it is the policy's] + epsilon / (number of ordered slates).

    Args:
        policy: called with `deterministic=True`.
        epsilon: in [0, 1].
        shape: shape of an action.
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
        of_random = self._random.log_probabilities(actions, is_available)
        return actions, epsilon_greedy_log_probabilities(is_greedy, of_random, self._epsilon)

    def state(self) -> dict[str, Any] | None:
        return self._random.state() if self._state is None else None

    def restore(self, state: dict[str, Any]) -> None:
        self._random.restore(state)

    def _check_deterministic(self, observations: Any, episode_start: np.ndarray) -> None:
        """`ValueError` for a policy that is random despite `deterministic=True`: its propensities would be wrong."""
        one, other = (self._policy.predict(observations, None, episode_start, deterministic=True)[0] for _ in range(2))
        if not np.array_equal(one, other):
            raise ValueError(
                f"epsilon={self._epsilon}: must be omitted, since {type(self._policy).__name__} is not deterministic"
            )
        self._is_checked = True


def epsilon_greedy_log_probabilities(is_greedy: Any, of_random: Any, epsilon: float) -> Any:
    """[N] float64: log-probabilities of slates, of which some are the greedy ones, by their log-probabilities
    `of_random` among all slates and the probability `epsilon` of a random slate; -inf for those that never occur."""
    with np.errstate(divide="ignore"):
        return np.log((1.0 - epsilon) * is_greedy + epsilon * np.exp(of_random))


def _checked_slates(actions: Any, shape: tuple[int, ...], num_candidates: int) -> np.ndarray:
    """Actions of a policy as an array of the given shape; `ValueError` unless they are indices of candidates."""
    slates = np.asarray(actions)
    is_valid = slates.dtype.kind in "iu" and slates.size == math.prod(shape)
    if not is_valid or slates.min() < 0 or slates.max() >= num_candidates:
        raise ValueError(f"policy: must return indices of candidates, 0 to {num_candidates - 1}, of shape {shape}")
    return slates.reshape(shape)


def _checked_log_probabilities(values: Any, num_sessions: int, takes_points: bool) -> np.ndarray:
    """Log-probabilities of a policy as [N] float64; `ValueError` if they are impossible for its own actions."""
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
    """Import the object `MODULE:NAME`.

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
    """Make a policy for an env: an object with `predict` is returned, a class or function is called with the env.

    It is also called with `seed=` if it has an argument of that name.

    Raises:
        ValueError: `named` is neither callable nor an object with `predict`.
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
