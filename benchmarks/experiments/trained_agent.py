"""An agent of the registry, trained in a scenario, and the held-out env that it is studied in."""

from collections.abc import Mapping
from typing import Any

from benchmarks.suites import HELD_OUT


def trained_agent(
    name: str, scenario: str, num_steps: int, num_sessions: int, settings: Mapping[str, Any] | None = None
) -> tuple[Any, Any]:
    """The agent, after `num_steps` user-steps in the split `train`, and a vector env of the split `test`.

    Args:
        name: of the agent in the registry.
        scenario: such as "Video".
        num_steps: of training, for agents that learn.
        num_sessions: lanes of the returned env.
        settings: of the agent, in place of the registry's.
    """
    import gymnasium

    from agents.agent import Learner
    from agents.registry import entry_named

    entry = entry_named(name)
    agent_class, own = entry.agent_class(), {**entry.settings, **(settings or {})}
    observation, variant = agent_class.env_requirements(**own)
    held_out: dict[str, Any] = {"split": HELD_OUT.split, "catalog_seed": HELD_OUT.catalog_seed}
    env: Any = gymnasium.make_vec(
        f"recsim_env/{scenario}{variant}-v0",
        num_sessions,
        vectorization_mode="vector_entry_point",
        observation=observation,
        **held_out,
    )
    lanes = entry.num_envs or agent_class.num_envs
    training = env.remake(num_envs=lanes, split="train", catalog_seed=HELD_OUT.training_catalog_seed)
    agent = agent_class(env=training, seed=0, **own)
    if isinstance(agent, Learner):
        agent.learn(num_steps)
    return agent, env
