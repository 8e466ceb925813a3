"""An agent of the registry, trained in a scenario, and the held-out env that it is studied in."""

from collections.abc import Mapping
from typing import Any

from benchmarks.suites import HELD_OUT
from recsim_env.config import Scenario


def trained_agent(
    name: str,
    scenario: str | Scenario,
    num_steps: int,
    num_sessions: int,
    settings: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> tuple[Any, Any]:
    """The agent, after `num_steps` user-steps in the split `train`, and a vector env of the split `test`.

    Args:
        name: of the agent in the registry.
        scenario: such as "Video", or one of your own, for agents that take candidates.
        num_steps: of training, for agents that learn.
        num_sessions: lanes of the returned env.
        settings: of the agent, in place of the registry's.
        seed: of the agent; it is added to those of both catalogues.
        options: arguments of both envs.
    """
    import gymnasium

    from agents.agent import Learner
    from agents.registry import entry_named
    from recsim_env.envs.vector import RecommenderVectorEnv

    entry = entry_named(name)
    agent_class, own = entry.agent_class(), {**entry.settings, **(settings or {})}
    observation, variant = agent_class.env_requirements(**own)
    options |= {"observation": observation, "split": HELD_OUT.split, "catalog_seed": HELD_OUT.catalog_seed + seed}
    env: Any
    if isinstance(scenario, Scenario):
        env = RecommenderVectorEnv(num_sessions, scenario, **options)
    else:
        env_id = f"recsim_env/{scenario}{variant}-v0"
        env = gymnasium.make_vec(env_id, num_sessions, vectorization_mode="vector_entry_point", **options)
    lanes = entry.num_envs or agent_class.num_envs
    training = env.remake(num_envs=lanes, split="train", catalog_seed=HELD_OUT.training_catalog_seed + seed)
    agent = agent_class(env=training, seed=seed, **own)
    if isinstance(agent, Learner):
        agent.learn(num_steps)
    return agent, env
