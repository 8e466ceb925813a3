"""The worlds that a model is trained in: several scenarios side by side, each with several catalogues in turn."""

from dataclasses import dataclass
from typing import Any

import gymnasium

import recsim_env  # noqa: F401  (registers the ids)
from agents.large_model.model import LargeModel
from agents.large_model.rollout import Teacher, check_remembers_a_step
from agents.networks.item_content import ItemContent
from agents.networks.schema import Schema
from agents.references.lookahead import LookaheadOracle


def make_env(env_id: str, num_envs: int, **options: Any) -> Any:
    """A vector env, of compact observations unless `options` say otherwise, that can be learnt in.

    Raises:
        ValueError: there is no such env, or it does not give compact observations of a simulator.
    """
    try:
        env: Any = gymnasium.make_vec(
            env_id, num_envs, vectorization_mode="vector_entry_point", **{"observation": "compact", **options}
        )
    except gymnasium.error.Error as error:
        raise ValueError(f"env {env_id!r}: {' '.join(str(error).split())}") from None
    except TypeError as error:
        raise ValueError(f"env {env_id!r}: is none that this model can play ({error})") from None
    check_remembers_a_step(env.simulator)
    return env


@dataclass(eq=False)
class TrainingWorld:
    """One catalogue of one scenario, and the sessions that are played in it."""

    env_id: str
    env: Any
    content: ItemContent
    teacher: Teacher | None = None


class TrainingWorlds:
    """Turns: all scenarios with their first catalogue, then all with their second, and so on.

    Args:
        env_ids: scenarios.
        env_options: of `gymnasium.make_vec`.
        num_catalogs: of each scenario.
        num_envs: sessions side by side in each world.
    """

    def __init__(self, env_ids: tuple[str, ...], env_options: dict[str, Any], num_catalogs: int, num_envs: int) -> None:
        first = env_options.get("catalog_seed", 0)
        self.num_envs = num_envs
        self._made: dict[int, TrainingWorld] = {}
        self._options = [
            (env_id, {**env_options, "catalog_seed": first + number})
            for number in range(num_catalogs)
            for env_id in env_ids
        ]
        self._firsts = [make_env(env_id, num_envs, **options) for env_id, options in self._options[: len(env_ids)]]
        self._teachers: dict[str, LookaheadOracle] = {}

    def __len__(self) -> int:
        return len(self._options)

    def schema(self, has_pictures: bool, has_sounds: bool) -> Schema:
        """What can be seen in all of them: catalogues of one scenario have the same columns."""
        return Schema.of([env.simulator for env in self._firsts], has_pictures, has_sounds)

    def turn(self, number: int, model: LargeModel) -> list[TrainingWorld]:
        """The worlds whose turn it is, one of each scenario, as the model sees them; made when they come first."""
        first = number * len(self._firsts)
        return [self._world((first + place) % len(self), model) for place in range(len(self._firsts))]

    def _world(self, place: int, model: LargeModel) -> TrainingWorld:
        if place not in self._made:
            env_id, options = self._options[place]
            env = self._firsts[place] if place < len(self._firsts) else make_env(env_id, self.num_envs, **options)
            self._made[place] = TrainingWorld(env_id, env, model.content_of(env))
        return self._made[place]

    def teacher(self, world: TrainingWorld) -> Teacher:
        """The scores of the foresight oracle, which has learnt how much to care in the scenario's first catalogue."""
        if world.teacher is None:
            if world.env_id not in self._teachers:
                oracle = LookaheadOracle(num_tuning_sessions=200)
                oracle.learn(*next(each for each in self._options if each[0] == world.env_id), num_steps=0, seed=0)
                self._teachers[world.env_id] = oracle
            oracle = LookaheadOracle(value_weights=self._teachers[world.env_id].value_weights)
            oracle.begin(world.env)
            world.teacher = oracle.scores
        return world.teacher

    def close(self) -> None:
        """End the envs."""
        for env in self._firsts + [world.env for world in self._made.values()]:
            env.close()
