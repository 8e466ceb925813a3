"""The worlds that a network is trained in: catalogues of named scenarios, or sampled scenarios without end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.imitation.teacher import Teacher, lookahead_teacher, teacher_weights
from agents.large_model.compact_observations import check_history
from agents.large_model.config import TrainingConfig
from agents.large_model.model import LargeModelNetwork
from agents.networks.item_content import ItemContent
from agents.networks.schema import READING_SOURCES
from agents.references.value_weights import ValueWeights
from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.scenario_sampling import sample_scenario

_HIDDEN_SHARE = 0.2  # of sampled worlds, where a source of readings is missing, as it may be elsewhere
_NUM_HELD_OUT = 8
_CATALOG_SEED = 600_000_011  # of evaluations during training; not used by the benchmark


@dataclass(eq=False)
class TrainingWorld:
    """One catalogue of one scenario."""

    name: str
    env: Any
    content: ItemContent
    scenario: int
    """Its number among the scenarios."""
    teacher: Teacher | None = None


class TrainingWorlds:
    """All scenarios with their first catalogue, then all with their second, and so on; made when first needed.

    `envs` are one of each scenario, with its first catalogue; that of the next has the next `catalog_seed`.
    """

    def __init__(self, envs: Sequence[Any], num_catalogs: int, num_envs: int) -> None:
        self.num_catalogs, self.num_envs, self._given_envs = num_catalogs, num_envs, envs
        for env in envs:
            check_history(env.simulator)
        names = [env.spec.id if env.spec else env.simulator.world.scenario.name for env in envs]
        self.num_worlds = len(envs)
        self.names = [name if names.count(name) == 1 else f"{name} {i}" for i, name in enumerate(names)]
        self.envs = [
            env if getattr(env, "num_envs", None) == num_envs else env.remake(num_envs=num_envs) for env in envs
        ]
        self._worlds: dict[int, TrainingWorld] = {}
        self._teacher_weights: dict[int, ValueWeights] = {}

    def close(self) -> None:
        """Close all envs but those that were given."""
        for env in (*self.envs, *(world.env for world in self._worlds.values())):
            if not any(env is given for given in self._given_envs):
                env.close()

    def held_out(self, num_sessions: int) -> dict[str, Any]:
        """Envs of that many sessions with the users and items of the split `validation`, by scenario."""
        arguments = {"num_envs": num_sessions, "split": "validation", "catalog_seed": _CATALOG_SEED}
        return {name: env.remake(**arguments) for name, env in zip(self.names, self.envs, strict=True)}

    def at(self, iteration: int, network: LargeModelNetwork) -> list[TrainingWorld]:
        """The worlds of an iteration, one of each scenario, as observed by the network."""
        catalog = iteration % self.num_catalogs
        return [self._world(scenario, catalog, network) for scenario in range(len(self.envs))]

    def _world(self, scenario: int, catalog: int, network: LargeModelNetwork) -> TrainingWorld:
        place, env = catalog * len(self.envs) + scenario, self.envs[scenario]
        if place not in self._worlds:
            if catalog > 0:
                env = env.remake(catalog_seed=int(env.simulator.catalog_seed) + catalog)
            self._worlds[place] = TrainingWorld(self.names[scenario], env, network.content_of(env), scenario)
        return self._worlds[place]

    def teacher(self, world: TrainingWorld) -> Teacher:
        """The scores of the lookahead oracle, with the `teacher_weights` of the scenario's first catalogue."""
        if world.teacher is None:
            if world.scenario not in self._teacher_weights:
                self._teacher_weights[world.scenario] = teacher_weights(self.envs[world.scenario])
            world.teacher = lookahead_teacher(world.env, self._teacher_weights[world.scenario])
        return world.teacher


class SampledWorlds:
    """Sampled scenarios, each played once with each of its structures.

    World g is scenario g modulo `num_scenarios` with the structure and the catalogue g // `num_scenarios`. Each
    iteration plays in the next `num_worlds` worlds, and each process of a group in others.
    """

    def __init__(self, config: TrainingConfig, num_envs: int, rank: int = 0, group_size: int = 1) -> None:
        self.num_worlds, self.num_envs, self._config = config.num_worlds, num_envs, config
        self._rank, self._group_size = rank, group_size

    def held_out(self, num_sessions: int) -> dict[str, Any]:
        """Envs of that many sessions in scenarios of the family `validation`, by name."""
        scenarios = [sample_scenario(seed, "validation") for seed in range(_NUM_HELD_OUT)]
        arguments: dict[str, Any] = {"observation": "compact", "split": "validation", "catalog_seed": _CATALOG_SEED}
        return {each.name: RecommenderVectorEnv(num_sessions, each, **arguments) for each in scenarios}

    def at(self, iteration: int, network: LargeModelNetwork) -> list[TrainingWorld]:
        """The worlds of an iteration, as observed by the network."""
        first = (iteration * self._group_size + self._rank) * self.num_worlds
        return [self._world(first + place, network) for place in range(self.num_worlds)]

    def _world(self, number: int, network: LargeModelNetwork) -> TrainingWorld:
        structure, seed = divmod(number, self._config.num_scenarios)
        env = RecommenderVectorEnv(
            self.num_envs,
            sample_scenario(seed),
            observation="compact",
            split="train",
            structure_split="train",
            world_seed=structure,
            catalog_seed=structure,
        )
        draws = np.random.default_rng([self._config.seed, number]).random(len(READING_SOURCES))
        hidden = [f"by {source}" for source, draw in zip(READING_SOURCES, draws, strict=True) if draw < _HIDDEN_SHARE]
        content = network.content_of(env).without(network.schema.content_names, hidden)
        return TrainingWorld(f"sampled {seed}", env, content, seed)

    def teacher(self, world: TrainingWorld) -> Teacher:
        """The scores of the lookahead oracle, with the `teacher_weights` of the world."""
        if world.teacher is None:
            world.teacher = lookahead_teacher(world.env, teacher_weights(world.env))
        return world.teacher
