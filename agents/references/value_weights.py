"""How much a policy minds the consequences of a step, and how players of a known world choose that.

Shape legend: N sessions.
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import recsim_env  # noqa: F401  (registers the ids)
from agents.agent import Agent, Env, Learner, NotFittedError
from agents.rollouts.evaluation import evaluate
from agents.saved_tensors import load_tensors, save_tensors
from recsim_env.config import Scenario
from recsim_env.world.world import World

WEIGHT_CANDIDATES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Values that each relevant field of `ValueWeights` is tried with."""


@dataclass(frozen=True, kw_only=True)
class ValueWeights:
    """What the consequences of a step are worth to a policy, in stars."""

    trust: float = 0.0
    """A star above what was promised."""
    patience: float = 0.0
    """A star above 3."""
    budget: float = 0.0
    """A unit of the user's money that is not spent."""
    following: float = 0.0
    """A creator whom the user follows."""

    @staticmethod
    def relevant_in(scenario: Scenario) -> tuple[str, ...]:
        """The names of what has consequences in a scenario at all."""
        names = ["trust", "patience"]
        if scenario.behaviour.is_shop:
            names.append("budget")
        if scenario.behaviour.follow_probability > 0.0:
            names.append("following")
        return tuple(names)

    def weights(self) -> np.ndarray:
        """[4] float64, as compiled code takes them."""
        return np.array([self.trust, self.patience, self.budget, self.following])


class ModelBasedReference(Learner):
    """What players share that know the world already: they show one item a step, and learn only how much to care.

    `learn` tries each value of `weight_candidates` in the training world, one field of `ValueWeights` after the other and twice around, and
    keeps what gives the highest mean return. It takes no account of the budget of steps.

    Args:
        care: to begin with; what `learn` does not change.
        population: the world whose people are expected, for players that expect any; `learn` takes the training world.
        cares: values to try.
        num_tuning_sessions: sessions in which each is tried.
    """

    has_budget = False

    def __init__(
        self,
        *,
        value_weights: ValueWeights = ValueWeights(),
        population: World | None = None,
        weight_candidates: Sequence[float] = WEIGHT_CANDIDATES,
        num_tuning_sessions: int = 500,
    ) -> None:
        self.value_weights, self.population = value_weights, population
        self.weight_candidates, self.num_tuning_sessions = tuple(weight_candidates), num_tuning_sessions
        self._learnt_in: dict[str, Any] = {}

    def begin(self, env: Env, seed: int = 0) -> None:
        super().begin(env, seed)
        if self.slate_size != 1:
            raise ValueError(f"slate_size={self.slate_size}: {type(self).__name__} shows one item a step")
        self._simulator = env.unwrapped.simulator

    @abstractmethod
    def trial(self, value_weights: ValueWeights) -> Agent:
        """The agent whose returns tell how good a care is."""

    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        env: Any = self._training_env(env_id, env_options, self.num_tuning_sessions)
        self.population = env.simulator.world
        self._learnt_in = {"env_id": env_id, "env_options": env_options}
        self.choose(env)
        if report:
            report(0)

    def choose(self, env: Any) -> None:
        """Take the best care found in the training env."""
        self.value_weights = best_care(self.trial, env, self.weight_candidates)[0]

    def _training_env(self, env_id: str, env_options: dict[str, Any], num_envs: int) -> Any:
        options = {**env_options, "observation": self.observation}
        return gymnasium.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **options)

    def best_params(self) -> dict[str, float]:
        """What `learn` chose."""
        return {f"care_for_{name}": value for name, value in dataclasses.asdict(self.value_weights).items()}

    def save(self, path: Path) -> None:
        if not self._learnt_in:
            raise NotFittedError
        tensors, settings = self.learnt()
        save_tensors(path, type(self).__name__, tensors, settings)

    def load(self, path: Path) -> None:
        self.take(*load_tensors(path, type(self).__name__))

    def learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What a file has to hold: arrays, and settings that JSON can hold."""
        return {"care": self.value_weights.weights()}, dict(self._learnt_in)

    def take(self, tensors: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
        """Have learnt what another had."""
        self._learnt_in = settings
        trust, patience, budget, following = tensors["care"].tolist()
        self.value_weights = ValueWeights(trust=trust, patience=patience, budget=budget, following=following)
        if self._learnt_in:
            self.population = self._training_env(**self._learnt_in, num_envs=1).simulator.world


def best_care(
    trial: Callable[[ValueWeights], Agent], env: Any, weight_candidates: Sequence[float]
) -> tuple[ValueWeights, float]:
    """The care with the highest mean return in `env`, and that return."""
    found: dict[ValueWeights, float] = {}

    def mean_return(value_weights: ValueWeights) -> float:
        if value_weights not in found:
            found[value_weights] = float(evaluate(trial(value_weights), env, 0).returns.mean())
        return found[value_weights]

    best = ValueWeights()
    for _ in range(2):
        for name in ValueWeights.relevant_in(env.simulator.world.scenario):
            best = max((dataclasses.replace(best, **{name: value}) for value in weight_candidates), key=mean_return)
    return best, mean_return(best)
