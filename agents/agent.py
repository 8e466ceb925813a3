"""The agent interface: construct with an env, `learn`, `predict`, `save`, `load`, as in Stable-Baselines3.

Shape legend: N sessions side by side, M candidates, S slots of a slate, H rows of the history, F content features.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

import recsim_env  # noqa: F401  (registers the ids)
from agents.callbacks import MaybeCallback, training_progress
from agents.explanation import Explanation, explain
from agents.saved_tensors import load_tensors, save_tensors
from recsim_env.config import MAX_TIMESTEPS, Checked, check_number, count, unknown_name
from recsim_env.envs.several_catalogs import SeveralCatalogs
from recsim_env.simulation.observation import ObservationLayout

Observations = Any
"""A batch of observations: a dict of arrays with the sessions first, or one such array (`observation="flat"`)."""

Env = Any
"""A `RecommenderVectorEnv`, a `RecommenderEnv`, a Stable-Baselines3 `VecEnv` of ours, or any of them wrapped."""

State = Any
"""An agent's memory of the sessions being played; None if it has none."""

Starts = np.ndarray | None
"""[N] bool: the sessions that have just begun; None for none of them, or all where the state is None."""

T = TypeVar("T")


class NotFittedError(RuntimeError):
    """An agent that has to be trained first is asked to predict or to save."""

    def __init__(self) -> None:
        super().__init__("not trained: call learn() or load()")


@dataclass(kw_only=True, eq=False, repr=False)
class AgentSettings(Checked):
    """The arguments of every agent's constructor."""

    env: InitVar[Env | str | None] = field(default=None, kw_only=False)
    """The env to act in, or its id; None until `set_env` is called."""
    seed: int = count(0, 0, 2**63 - 1)
    """Seed of the agent's random draws, in training and in play."""


class Agent(AgentSettings, ABC):
    """Chooses what to show in N sessions at once.

    The agent holds the results of training; the state that `predict` takes and returns holds the memory of the
    sessions being played. A subclass implements `act`, and `initial_state` if it has a memory. Its settings, the
    keyword arguments of its constructor, are the fields of a dataclass, with their ranges.
    """

    observation: str = "full"
    """The kind of observation that the agent reads."""

    env_variant: str = ""
    """The variant of a scenario's ids that it acts in: `recsim_env/{scenario}{env_variant}-v0`."""

    num_envs: ClassVar[int] = 64
    """Lanes of the vector env that is made where an id, or a single env, is given."""

    is_privileged: ClassVar[bool] = False
    """Whether it reads the latent state of the env, which no deployed recommender can."""

    state_class: ClassVar[type | None] = None
    """The class of the states of an agent with a memory. If they have `num_sessions`, it is checked as well."""

    settings: dict[str, Any]
    """The keyword arguments of the constructor, without the env."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        agent = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values()):
            check_arguments(cls.__name__, kwargs, [each for each in signature.parameters if each != "self"])
        bound = signature.bind_partial(agent, *args, **kwargs).arguments
        named = {name: value for name, value in bound.items() if name not in ("self", "env", "settings")}
        agent.settings = {**named, **bound.get("settings", {})}
        return agent

    def __post_init__(self, env: Env | str | None) -> None:
        super().__post_init__()
        self.num_timesteps = 0
        """User-steps that the agent has learned from so far."""
        self.training_metrics: dict[str, float] = {}
        """The latest training metrics by name, such as losses, for callbacks; empty if the agent reports none."""
        self._env: Any = None
        self._layout: ObservationLayout | None = None
        self.slate_size = 1
        """S."""
        self.set_random_seed(self.seed)
        if env is not None:
            self.set_env(env)

    @classmethod
    def env_requirements(cls, **settings: Any) -> tuple[str, str]:
        """`observation` and `env_variant` of an agent with these settings."""
        return cls.observation, cls.env_variant

    @property
    def env(self) -> Any:
        """The `RecommenderVectorEnv` or `RecommenderEnv` that it acts in."""
        if self._env is None:
            raise ValueError(f"{type(self).__name__}: has no env; call set_env(env)")
        return self._env

    @property
    def layout(self) -> ObservationLayout:
        """Where each part of an observation stands."""
        if self._layout is None:
            raise ValueError(f"{type(self).__name__}: has no env; call set_env(env)")
        return self._layout

    def set_env(self, env: Env | str) -> None:
        """Act in another env from now on, in its catalogue and with its users.

        Raises:
            ValueError: the env has another kind of observation than the agent reads, or takes points where the agent
                chooses candidates, or the reverse; or is not one of ours.
        """
        if isinstance(env, str):
            env = gymnasium.make_vec(
                env, self.num_envs, vectorization_mode="vector_entry_point", observation=self.observation
            )
        env = unwrapped(env)
        if env.observation_kind != self.observation:
            raise ValueError(
                f"observation={env.observation_kind!r}: {type(self).__name__} reads {self.observation!r}; "
                f"make the env with observation={self.observation!r}"
            )
        takes_points = isinstance(getattr(env, "single_action_space", env.action_space), spaces.Box)
        if takes_points != bool(self.env_variant):
            right = "content' or 'catalog" if self.env_variant else "candidate"
            chosen = "points in content space" if self.env_variant else "candidates"
            raise ValueError(f"env: {type(self).__name__} chooses {chosen}; make the env with action='{right}'")
        self._env, self._layout = env, env.simulator.layout.of_kind(self.observation)
        self.slate_size = env.simulator.config.slate_size

    def set_random_seed(self, seed: int) -> None:
        """Restart all random draws from this seed."""
        self.seed, self._num_generators = seed, 0

    def new_generator(self) -> np.random.Generator:
        """A generator for new sessions; each differs from those since the last `set_random_seed`."""
        self._num_generators += 1
        return np.random.default_rng(self.seed if self._num_generators == 1 else [self.seed, self._num_generators])

    def learn(self, total_timesteps: int, callback: MaybeCallback = None, progress_bar: bool = False) -> Self:
        """Train for `total_timesteps` user-steps in the agent's env, and return the agent.

        Args:
            total_timesteps: steps of all lanes together, at least 0; the last rollout may go a little beyond.
            callback: a `callbacks.Callback`, or a function `callback(agent)` that is called after each batch of steps
                and ends the training by returning False. It may evaluate the agent in another env.
            progress_bar: show one, with the time left.
        """
        check_number("total_timesteps", total_timesteps, 0, MAX_TIMESTEPS, int)
        with training_progress(self, total_timesteps, callback, progress_bar) as update:
            self.train(total_timesteps, update)
        return self

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        """Learn from `total_timesteps` steps of `self.env`; nothing, unless the agent is a `Learner`."""

    def predict(
        self, observations: Observations, state: State = None, episode_start: Starts = None, deterministic: bool = True
    ) -> tuple[Any, State]:
        """Actions for a batch of observations, or for one observation without the batch dimension.

        Args:
            observations: of the kind that the agent reads.
            state: the state that the previous call returned, updated in place; None for sessions without one, of which
                the agent then knows the observation, including its history.
            episode_start: [N] bool, the sessions that have just begun. Ignored where `state` is None.
            deterministic: False samples from the policy where the agent has a stochastic one.

        Returns:
            Actions ([N] int64; [N, S] for slates; [N, F] float32 for ids that take points in content space), and the
            state for the next call.

        Raises:
            NotFittedError: the agent has to be trained first.
            ValueError: observations of another kind or shape than those of the agent's env, or a state that is not this
                agent's, or of another number of sessions.
        """
        shape = self._shape_of_batch(observations)
        is_single, num_sessions = not shape, shape[0] if shape else 1
        if is_single:
            is_dict = isinstance(observations, dict)
            observations = {name: part[None] for name, part in observations.items()} if is_dict else observations[None]
        is_first = first_steps(state, episode_start, num_sessions)
        if state is None:
            state = self.initial_state(num_sessions)
        else:
            self._check_state(state, num_sessions)
            if is_first.shape not in ((num_sessions,), shape):
                raise ValueError(f"episode_start of shape {is_first.shape}: must be {(num_sessions,)}")
            is_first = is_first.astype(np.bool_).reshape(num_sessions)
        actions = self.act(observations, state, is_first, deterministic)
        return (actions[0] if is_single else actions), state

    def _shape_of_batch(self, observations: Observations) -> tuple[int, ...]:
        """(N,), or () for one observation; `ValueError` if they are not what the agent's env returns."""
        lengths, is_dict = _lengths(self.layout, self.observation), isinstance(observations, dict)
        parts = observations if is_dict else {"": observations}
        if parts.keys() != lengths.keys():
            given = f"with {', '.join(map(str, parts))}" if is_dict else "without names"
            names = f"a dict of {', '.join(lengths)}" if self.observation != "flat" else "one array"
            raise ValueError(f"observations {given}: {type(self).__name__} reads {self.observation!r}, {names}")
        batch = np.shape(parts["user" if is_dict else ""])[:-1][:1]
        for name, length in lengths.items():
            if np.shape(parts[name]) != (*batch, length):
                label = f"observations[{name!r}]" if name else "observations"
                raise ValueError(f"{label} of shape {np.shape(parts[name])}: must be of shape {(*batch, length)}")
        return batch

    def _check_state(self, state: State, num_sessions: int) -> None:
        if self.state_class is not None and not isinstance(state, self.state_class):
            raise ValueError(f"state of type {type(state).__name__}: must be None, or what predict() returned before")
        size = getattr(state, "num_sessions", num_sessions)
        if size != num_sessions:
            raise ValueError(f"state of {size} sessions: must be of as many as the observations, {num_sessions}")

    def initial_state(self, num_sessions: int) -> State:
        """The memory of N sessions before their first step; None if the agent has none."""
        return None

    @abstractmethod
    def act(
        self, observations: Observations, state: State, episode_start: np.ndarray, deterministic: bool
    ) -> np.ndarray:
        """Actions for a batch of observations, as `predict` describes them; updates `state` in place.

        `episode_start` [N] bool marks the sessions that have just started: drop the memory of the lane's previous one.
        """

    def log_probabilities(
        self, observations: Observations, actions: np.ndarray, state: State = None, episode_start: Starts = None
    ) -> np.ndarray:
        """[N] float64: log-probabilities of these actions under `predict(..., deterministic=False)`.

        Raises:
            NotImplementedError: the policy is deterministic, or its probabilities have no closed form.
        """
        raise NotImplementedError(f"{type(self).__name__}: has no action probabilities in closed form")

    def candidate_scores(self, observations: Observations) -> np.ndarray:
        """[N, M] float: the scores that rank the candidates, in sessions of which the agent knows these observations
        alone, histories included; undefined for missing candidates.

        Raises:
            NotImplementedError: the agent does not rank candidates by scores, or draws them at random.
        """
        raise NotImplementedError(f"{type(self).__name__}: has no scores of candidates")

    def explain(self, observations: Observations, candidate: int | None = None) -> Explanation:
        """Why a candidate of one session, by default the best, has its score: which of the items shown before count
        for it or against it.

        Args:
            observations: a batch of one observation, whose history is read.
            candidate: its place among the candidates.

        Raises:
            ValueError: there are several sessions, or there is no such candidate.
            NotImplementedError: see `candidate_scores`; or the agent does not observe the history.
        """
        return explain(self.candidate_scores, observations, candidate, self.layout)

    def best_params(self) -> dict[str, Any]:
        """Settings that `learn` has chosen."""
        return {}

    def save(self, path: Path | str) -> None:
        """Write the agent to one file, whole or not at all; the file holds tensors and text and cannot run code.

        Raises:
            NotFittedError: the agent has to be trained first.
        """
        tensors, learned = self.learned()
        layout = None if self._layout is None else self._layout.as_settings()
        kept = {
            "settings": self.settings,
            "learned": learned,
            "layout": layout,
            "slate_size": self.slate_size,
            "num_timesteps": self.num_timesteps,
        }
        save_tensors(Path(path), path_of(type(self)), tensors, kept)

    @classmethod
    def load(cls, path: Path | str, env: Env | str | None = None, **settings: Any) -> Self:
        """The agent that `save` wrote.

        Args:
            path: the file.
            env: the env to act in, needed by agents that read the whole catalogue or the latent state.
            settings: keyword arguments of the constructor in place of the saved ones, such as `device`.

        Raises:
            ValueError: the file is missing, damaged, or of another agent; one line that says which.
        """
        tensors, kept = load_tensors(Path(path), path_of(cls))
        try:
            agent = cls(env=env, **{**kept["settings"], **settings})
            if env is None and kept["layout"] is not None:
                agent._layout, agent.slate_size = ObservationLayout(**kept["layout"]), kept["slate_size"]
            agent.num_timesteps = kept["num_timesteps"]
            agent.restore(tensors, kept["learned"])
        except (LookupError, TypeError, AttributeError, RuntimeError) as error:  # missing values, wrong shapes
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"{path}: does not fit {path_of(cls)} of this version ({reason})") from error
        return agent

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The results of training: arrays, and values that JSON can hold. `NotFittedError` before training."""
        return {}, {}

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        """Take over the results of another agent's `learned`."""

    def candidates(self, observations: Observations) -> np.ndarray:
        """[N, M, F + 9]: the candidates of a batch of `"full"` observations."""
        return observations["candidates"].reshape(-1, *self.layout.candidates_shape)

    def history(self, observations: Observations) -> np.ndarray:
        """[N, H, F + 7]: the histories of a batch of `"full"` observations, most recent first."""
        return observations["history"].reshape(-1, *self.layout.history_shape)

    def top_candidates(self, scores: np.ndarray, candidate_mask: np.ndarray) -> np.ndarray:
        """Actions that show the candidates with the highest scores [N, M], best on top; missing ones come last."""
        ranked = np.argsort(np.where(candidate_mask > 0, -scores, np.inf), axis=1, kind="stable")
        return ranked[:, 0] if self.slate_size == 1 else ranked[:, : self.slate_size]


class Learner(Agent):
    """An agent that is trained by acting in an env. A subclass implements `train`, `learned` and `restore` as well."""

    uses_budget: ClassVar[bool] = True
    """Whether its training depends on the number of steps."""

    reads_evaluation_catalog: ClassVar[bool] = False
    """Whether it has to be trained on the catalogue of the evaluation, with other users: an advantage over agents that
    have never seen these items."""

    num_catalogs: int = 1
    """Catalogues to be trained in: that of the env, and those with the next catalogue seeds."""

    def __post_init__(self, env: Env | str | None) -> None:
        self._closed_after_training: list[Any] = []
        super().__post_init__(env)

    def learn(self, total_timesteps: int, callback: MaybeCallback = None, progress_bar: bool = False) -> Self:
        try:
            return super().learn(total_timesteps, callback, progress_bar)
        finally:
            while self._closed_after_training:
                self._closed_after_training.pop().close()

    def closed_after_training(self, env: T) -> T:
        """An env that `train` has made, which `learn` closes at its end: it may have threads."""
        self._closed_after_training.append(env)
        return env

    def training_env(self, total_timesteps: int) -> Any:
        """A vector env like the agent's env, in `AutoresetMode.SAME_STEP`: itself if it is one.

        If the agent's env is a single env, it has `num_envs` lanes; in any case no more lanes than steps. With
        `num_catalogs`, lanes are in `SeveralCatalogs`. It is `closed_after_training`, unless it is the agent's own.

        Raises:
            ValueError: there are more catalogues than lanes.
        """
        env, lanes = self.env, getattr(self.env, "num_envs", self.num_envs)
        num_envs = max(min(lanes, total_timesteps), 1)
        if self.num_catalogs > 1:
            check_number("num_catalogs", self.num_catalogs, 1, lanes, int)
            return self.closed_after_training(SeveralCatalogs(env, num_envs, min(self.num_catalogs, num_envs)))
        if num_envs == getattr(env, "num_envs", None) and env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP:
            return env
        return self.closed_after_training(env.remake(num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP))

    @abstractmethod
    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        """Learn from `total_timesteps` steps of `self.env`.

        Call `update(0)` once the agent is able to act, and `update(steps taken in this training)` after each batch of
        steps; stop when it returns False. A callback may change `self.env` and the agent's random seed and back: draw
        from generators of your own.
        """


@cache
def _lengths(layout: ObservationLayout, kind: str) -> dict[str, int]:
    """Length of each part of an observation; "" for the single part of a flat one."""
    space = layout.space(kind)
    parts = space.items() if isinstance(space, spaces.Dict) else [("", space)]
    return {name: spaces.flatdim(part) for name, part in parts}


def unwrapped(env: Env) -> Any:
    """The `RecommenderVectorEnv` or `RecommenderEnv` behind wrappers and the Stable-Baselines3 adapter.

    Raises:
        ValueError: there is none.
    """
    found = getattr(env, "unwrapped", env)
    found = getattr(found, "vector_env", found)
    if not (hasattr(found, "simulator") and hasattr(found, "remake")):
        raise ValueError(f"env={type(found).__name__}: must be a RecommenderVectorEnv or a RecommenderEnv")
    return found


def first_steps(state: State, episode_start: Starts, num_sessions: int) -> np.ndarray:
    """[N] bool: the sessions that an agent has no memory of; arguments as for `predict`."""
    if state is None:
        return np.ones(num_sessions, np.bool_)
    return np.zeros(num_sessions, np.bool_) if episode_start is None else np.asarray(episode_start)


def check_arguments(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """`TypeError` with the nearest name if one of the arguments is unknown."""
    for name in given:
        if name not in known:
            raise TypeError(f"{owner}: argument {name!r}: {unknown_name(name, known)}")


def path_of(agent_class: type[Agent]) -> str:
    """`package.module:Class`."""
    return f"{agent_class.__module__}:{agent_class.__qualname__}"
