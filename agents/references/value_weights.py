"""Value weights of long-term consequences, and references that know the model of the environment and tune them."""

import dataclasses
import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.agent import Agent, Env, Learner, NotFittedError
from agents.rollouts.evaluation import evaluate
from recsim_env.config import Scenario, count
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.custom_user_model import DEFAULT_USER_MODEL
from recsim_env.world.world import World

WEIGHT_CANDIDATES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Candidates for each weight that is tuned."""

TUNED = ("trust", "patience", "budget", "following")
"""Fields of `ValueWeights` that are tuned where they are relevant."""


@dataclass(frozen=True, kw_only=True)
class ValueWeights:
    """The value of a step's consequences, in units of the rating scale."""

    trust: float = 0.0
    """Of a rating one above the anticipated rating."""
    patience: float = 0.0
    """Of a rating one above 3."""
    budget: float = 0.0
    """Of a unit of the user's budget that is left."""
    following: float = 0.0
    """Of a creator whom the user follows."""
    click: float = 0.0
    """Of a click in place of a skip."""
    consumption: float = 0.0
    """Of an item that is consumed to its end; in a shop, that is purchased."""
    satiation: float = 0.0
    """The same per unit of affinity; negative where users tire of the topics that they like."""
    interests: float = 0.0
    """Of a change of interests towards what the user likes."""

    @staticmethod
    def relevant_in(scenario: Scenario) -> tuple[str, ...]:
        """The fields that matter in a scenario."""
        matters = dict.fromkeys(VALUE_WEIGHTS, True)
        matters["budget"] = scenario.behaviour.is_shop
        matters["following"] = scenario.behaviour.follow_probability > 0.0
        return tuple(name for name in VALUE_WEIGHTS if matters[name])

    def as_array(self) -> np.ndarray:
        """[C] float64 in the order of `VALUE_WEIGHTS`, for compiled code."""
        return np.array(dataclasses.astuple(self))


VALUE_WEIGHTS = tuple(field.name for field in dataclasses.fields(ValueWeights))
"""The C consequences of a step."""


@dataclass(kw_only=True, eq=False, repr=False)
class ModelBasedReference(Learner):
    """Base of references that know the items and the user model, show one item a step, and tune value weights.

    `train` tries each of `weight_candidates` in the agent's env, one field of `TUNED` after the other and twice
    around, and keeps those with the highest mean return. It ignores the budget of steps.
    """

    observation = "compact"
    is_privileged = True
    uses_budget = False

    value_weights: ValueWeights = ValueWeights()
    """Initial weights."""
    weight_candidates: Sequence[float] = WEIGHT_CANDIDATES
    """Values to try for each weight."""
    num_tuning_sessions: int = count(500, 1, 1_000_000)
    """Sessions in which each is tried."""
    population: World | None = field(default=None, init=False)
    """The world of the training env, whose users are expected."""
    _training_arguments: dict[str, Any] | None = field(default=None, init=False)

    def __post_init__(self, env: Any) -> None:
        super().__post_init__(env)
        self.settings.pop("value_weights", None)  # `learned` holds them

    def set_env(self, env: Env | str) -> None:
        super().set_env(env)
        if self.slate_size != 1:
            raise ValueError(f"slate_size={self.slate_size}: {type(self).__name__} shows one item a step, must be 1")

    @abstractmethod
    def with_weights(self, value_weights: ValueWeights) -> Agent:
        """The agent that is evaluated to tune the weights."""

    def train(self, total_timesteps: int, update: Callable[[int], bool]) -> None:
        defaults = (None, DEFAULT_USER_MODEL)
        arguments = {name: value for name, value in self.env.arguments.items() if value not in defaults}
        self.population, self._training_arguments = self.env.simulator.world, arguments
        tuning_env = self.env.remake(num_envs=self.num_tuning_sessions, observation=self.observation)
        self.tune(self.closed_after_training(tuning_env))

    def tune(self, env: RecommenderVectorEnv) -> None:
        """Keep the best settings found in `env`."""
        self.value_weights = best_weights(self.with_weights, env, self.weight_candidates)[0]

    def best_params(self) -> dict[str, float]:
        return {f"{name}_weight": value for name, value in dataclasses.asdict(self.value_weights).items()}

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if self._training_arguments is None:
            raise NotFittedError
        try:
            json.dumps(self._training_arguments)
        except TypeError as error:
            raise ValueError(f"env: the agent cannot be saved, its env was made with an object ({error})") from None
        return {}, {"value_weights": dataclasses.asdict(self.value_weights), "env": self._training_arguments}

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        self.value_weights = ValueWeights(**learned["value_weights"])
        self._training_arguments = learned["env"]
        arguments = {**learned["env"], "num_envs": 1, "render_mode": None}
        self.population = RecommenderVectorEnv(**arguments).simulator.world


def best_weights(
    with_weights: Callable[[ValueWeights], Agent], env: RecommenderVectorEnv, weight_candidates: Sequence[float]
) -> tuple[ValueWeights, float]:
    """The weights with the highest mean return in `env`, by coordinate search over the fields `TUNED`, and that
    return."""
    names = [name for name in ValueWeights.relevant_in(env.simulator.world.scenario) if name in TUNED]
    returns: dict[ValueWeights, float] = {}

    def mean_return(value_weights: ValueWeights) -> float:
        if value_weights not in returns:
            returns[value_weights] = float(evaluate(with_weights(value_weights), env, 0).returns.mean())
        return returns[value_weights]

    best = ValueWeights()
    for _ in range(2):
        for name in names:
            best = max((dataclasses.replace(best, **{name: value}) for value in weight_candidates), key=mean_return)
    return best, mean_return(best)


def live_simulator(agent: Agent, num_sessions: int) -> Any:
    """The simulator behind an agent that reads the latent state of the sessions it acts in.

    Raises:
        ValueError: the agent's env has another number of sessions.
    """
    simulator = agent.env.simulator
    if len(simulator.sessions) != num_sessions:
        raise ValueError(
            f"observations: {num_sessions} sessions, must be the {len(simulator.sessions)} of the env, whose latent "
            f"state {type(agent).__name__} reads; call set_env(env)"
        )
    return simulator
