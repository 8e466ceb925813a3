"""Observations, rewards, infos and returns of trained agents equal those recorded before the redesign.

`python tests/test_behaviour_is_unchanged.py` records them again into `recorded_behaviour.json`.
"""

import hashlib
import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401  (registers the ids)

RECORDED = Path(__file__).with_name("recorded_behaviour.json")
SCENARIOS = ("Ecommerce", "Social", "Music", "Video", "News", "MovieLens", "Ratings")
ENV_IDS = [f"recsim_env/{name}{variant}-v0" for name in SCENARIOS for variant in ("", "Slate", "Content", "Catalog")]
KINDS = ("dict", "flat", "compact")
NUM_STEPS = 1_000
_TERMS = ("reward_rating", "reward_click", "reward_consumption", "reward_purchase", "reward_retention")


def _actions(space, generator):
    if isinstance(space, gymnasium.spaces.Box):
        return generator.uniform(space.low, space.high, space.shape).astype(space.dtype)
    top = space.n if isinstance(space, gymnasium.spaces.Discrete) else space.nvec
    return generator.integers(0, top, space.shape)


def digest(env_id: str, kind: str) -> str:
    """sha256 of the observations, rewards, ends and reward terms of 1,000 random steps of two lanes."""
    env = gymnasium.make_vec(env_id, 2, vectorization_mode="vector_entry_point", observation=kind)
    observations, _ = env.reset(seed=17)
    generator, hashed = np.random.default_rng(17), hashlib.sha256()
    for _ in range(NUM_STEPS):
        parts = observations.values() if isinstance(observations, dict) else [observations]
        for part in parts:
            hashed.update(np.ascontiguousarray(part).tobytes())
        observations, rewards, terminated, truncated, infos = env.step(_actions(env.action_space, generator))
        for part in (rewards, terminated, truncated, *(infos[term] for term in _TERMS)):
            hashed.update(np.ascontiguousarray(part).tobytes())
        if "final_obs" in infos:
            hashed.update(np.concatenate([infos["final_info"][term] for term in _TERMS]).tobytes())
    env.close()
    return hashed.hexdigest()


def returns(name: str) -> list[float]:
    """Returns of 64 held-out sessions after 8,192 steps of training in Video."""
    import torch

    from agents import registry
    from agents.rollouts.evaluation import evaluate

    def make_env(num_envs: int, **arguments):
        return gymnasium.make_vec("recsim_env/Video-v0", num_envs, **arguments)

    torch.set_num_threads(1)
    num_envs = registry.entry_named(name).agent_class().num_envs
    agent = registry.make(name, make_env(num_envs, split="train", catalog_seed=5), seed=3)
    agent.learn(8_192)
    env = make_env(64, split="test", catalog_seed=9)
    return [round(float(each), 4) for each in evaluate(agent, env, 11).returns]


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_every_id_equal_the_recorded_ones(env_id, kind):
    assert digest(env_id, kind) == json.loads(RECORDED.read_text())["digests"][f"{env_id} {kind}"]


@pytest.mark.parametrize("name", ["eb-linucb", "pqn"])
def test_returns_of_trained_agents_equal_the_recorded_ones(name):
    assert returns(name) == json.loads(RECORDED.read_text())["returns"][name]


if __name__ == "__main__":
    digests = {f"{env_id} {kind}": digest(env_id, kind) for env_id in ENV_IDS for kind in KINDS}
    RECORDED.write_text(
        json.dumps({"digests": digests, "returns": {n: returns(n) for n in ("eb-linucb", "pqn")}}, indent=1)
    )
    print(f"{len(digests)} digests and 2 lists of returns written", file=sys.stderr)
