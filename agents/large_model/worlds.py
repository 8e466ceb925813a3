"""The worlds that a network is trained in: one or several scenarios side by side, each with several catalogues in
turn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium

import recsim_env  # noqa: F401  (registers the ids)
from agents.large_model.model import LargeModelNetwork
from agents.large_model.rollout import Teacher
from agents.large_model.session_state import check_history
from agents.networks.item_content import ItemContent
from agents.networks.schema import Schema
from agents.references.lookahead import LookaheadOracle

_NUM_TUNING_SESSIONS = 200


def make_env(env_id: str, num_envs: int, **arguments: Any) -> Any:
    """A vector env with compact observations, unless `arguments` say otherwise.

    Raises:
        ValueError: there is no such env, or the large model cannot act in it.
    """
    try:
        env: Any = gymnasium.make_vec(
            env_id, num_envs, vectorization_mode="vector_entry_point", **{"observation": "compact", **arguments}
        )
    except gymnasium.error.Error as error:
        raise ValueError(f"env {env_id!r}: {' '.join(str(error).split())}") from None
    except TypeError as error:
        raise ValueError(f"env {env_id!r}: not an env for the large model ({error})") from None
    check_history(env.simulator)
    return env


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

    Args:
        envs: one of each scenario, with its first catalogue; that of the next has the next `catalog_seed`.
        num_catalogs: of each scenario.
        num_envs: sessions in parallel in each world.
        log: is called with one line before work that takes long.
    """

    def __init__(
        self, envs: Sequence[Any], num_catalogs: int, num_envs: int, log: Callable[[str], None] = lambda words: None
    ) -> None:
        self.num_catalogs, self.num_envs, self._log = num_catalogs, num_envs, log
        for env in envs:
            check_history(env.simulator)
        names = [env.spec.id if env.spec else env.simulator.world.scenario.name for env in envs]
        self.names = [name if names.count(name) == 1 else f"{name} {i}" for i, name in enumerate(names)]
        self.envs = [
            env if getattr(env, "num_envs", None) == num_envs else env.remake(num_envs=num_envs) for env in envs
        ]
        self._worlds: dict[int, TrainingWorld] = {}
        self._oracles: dict[int, LookaheadOracle] = {}

    def schema(self, has_images: bool, has_audio: bool) -> Schema:
        """The columns of all scenarios; catalogues of one scenario have the same columns."""
        return Schema.of([env.simulator for env in self.envs], has_images, has_audio)

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
        """The scores of the lookahead oracle, with value weights tuned in the scenario's first catalogue."""
        if world.teacher is None:
            if world.scenario not in self._oracles:
                self._log(f"{world.name}: tuning the teacher, a lookahead oracle")
                oracle = LookaheadOracle(self.envs[world.scenario], num_tuning_sessions=_NUM_TUNING_SESSIONS)
                self._oracles[world.scenario] = oracle.learn(0)
            oracle = LookaheadOracle(world.env, value_weights=self._oracles[world.scenario].value_weights)
            world.teacher = oracle.scores
        return world.teacher
