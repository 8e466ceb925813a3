"""Wolpertinger: the critic selects one of the k nearest items."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import recsim_env  # noqa: F401
from agents.reinforcement.content_policies import AvailableItems, ItemCritic
from agents.reinforcement.wolpertinger import Wolpertinger
from recsim_env.simulation.observation import CANDIDATE_COLUMNS

SMALL = {"learning_starts": 40, "batch_size": 16, "train_freq": 2, "gradient_steps": 1}


class KnownCritic(ItemCritic):
    """Values of candidates that the test sets."""

    def __init__(self, values: list[list[float]]) -> None:
        torch.nn.Module.__init__(self)
        self.values = torch.tensor(values)

    def of_candidates(self, observations):
        return self.values


def tiny(contents: list[float], masks: list[float]) -> dict[str, torch.Tensor]:
    """One session, one content feature."""
    rows = [[content] + [0.0] * len(CANDIDATE_COLUMNS) for content in contents]
    return {"candidates": torch.tensor(rows).flatten().unsqueeze(0), "candidate_mask": torch.tensor([masks])}


def trained(algorithm: str = "SAC", num_neighbours: int = 5, **settings) -> Wolpertinger:
    env = gymnasium.make_vec("recsim_env/VideoContent-v0", 4, split="train", catalog_seed=0)
    agent = Wolpertinger(env, algorithm=algorithm, num_neighbours=num_neighbours, **SMALL, **settings)
    return agent.learn(96)


def test_the_critic_picks_among_the_nearest_only():
    critic = KnownCritic([[9.0, 1.0, 3.0, 2.0]])
    observations, point = tiny([-1.0, 0.1, 0.4, 0.2], [1.0] * 4), torch.tensor([[0.0]])
    picked = [critic.refined(observations, point, k).item() for k in (1, 2, 3, 4)]
    assert picked == pytest.approx([0.1, 0.2, 0.4, -1.0])


def test_with_all_candidates_as_neighbours_the_critic_alone_decides():
    env = gymnasium.make_vec("recsim_env/VideoContent-v0", 64)
    observations = {name: torch.as_tensor(part) for name, part in env.reset(seed=0)[0].items()}
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(64, 20, generator=generator)
    points = torch.rand(64, 10, generator=generator)
    for num_neighbours in (20, 1_000):
        actions = KnownCritic(values.tolist()).refined(observations, points, num_neighbours)
        assert torch.equal(actions, AvailableItems(observations).contents[torch.arange(64), values.argmax(1)])
        np.testing.assert_array_equal(env.unwrapped._slates(actions.numpy())[:, 0], values.argmax(1))


def test_missing_and_repeated_candidates_are_not_picked():
    observations = tiny([0.1, 0.5, 0.5, 0.9], [0.0, 1.0, 1.0, 1.0])
    critic = KnownCritic([[9.0, 1.0, 8.0, 2.0]])  # the highest values are of a missing and of a repeated candidate
    assert critic.refined(observations, torch.tensor([[0.4]]), 4).item() == pytest.approx(0.9)
    alone = tiny([0.1, 0.5, 0.5], [0.0, 1.0, 1.0])
    assert KnownCritic([[9.0, 1.0, 8.0]]).refined(alone, torch.tensor([[0.0]]), 3).item() == 0.5


@pytest.mark.parametrize("scenario", ["Video", "Ratings"])
def test_one_neighbour_is_the_plain_nearest_item(scenario):
    env = gymnasium.make_vec(f"recsim_env/{scenario}Content-v0", 128)
    observations = {name: torch.as_tensor(part) for name, part in env.reset(seed=0)[0].items()}
    size = env.single_action_space.shape[0]
    points = torch.rand(128, size, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
    actions = KnownCritic(torch.zeros(128, 20).tolist()).refined(observations, points, 1)
    np.testing.assert_array_equal(env.unwrapped.shown_items(actions.numpy()), env.unwrapped.shown_items(points.numpy()))
    assert actions.numpy() in env.action_space  # contents lie in the Box


@pytest.mark.parametrize(("algorithm", "settings"), [("SAC", {}), ("TD3", {"action_noise": 0.3})])
def test_stored_actions_are_contents_of_candidates(algorithm, settings):
    buffer = trained(algorithm, **settings).model.replay_buffer
    candidates = buffer.observations["candidates"][:24].reshape(24, 4, 20, -1)[..., : -len(CANDIDATE_COLUMNS)]
    is_shown = (candidates == buffer.actions[:24, :, None]).all(3)
    assert (is_shown.sum(2) == 1).all()  # before learning starts, and after


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_the_weights_depend_on_the_seed_alone_and_a_file_holds_the_policy(algorithm, tmp_path: Path):
    agent, again = trained(algorithm, 3), trained(algorithm, 3)
    weights = agent.model.policy.state_dict()
    assert all(torch.equal(weight, again.model.policy.state_dict()[name]) for name, weight in weights.items())
    agent.save(tmp_path / "agent")
    env = gymnasium.make_vec("recsim_env/VideoContent-v0", 16, split="test", catalog_seed=1)
    observations, _ = env.reset(seed=0)
    actions, _ = agent.predict(observations)
    assert actions in env.action_space
    other = Wolpertinger.load(tmp_path / "agent")
    np.testing.assert_array_equal(actions, other.predict(observations)[0])
    single, _ = other.predict({name: part[3] for name, part in observations.items()})
    np.testing.assert_array_equal(single, actions[3])


def test_the_best_neighbour_of_the_actors_point_is_shown():
    agent = trained(num_neighbours=5)
    policy = agent.model.policy
    env = gymnasium.make_vec("recsim_env/VideoContent-v0", 32)
    observations, _ = env.reset(seed=0)
    tensors = {name: torch.as_tensor(part) for name, part in observations.items()}
    with torch.no_grad():
        points, values, available = (
            policy(tensors, deterministic=True),
            policy.critic.of_candidates(tensors),
            AvailableItems(tensors),
        )
        near = torch.cdist(points.unsqueeze(1), available.contents).squeeze(1).argsort(1)[:, :5]
        best = near[torch.arange(32), values.gather(1, near).argmax(1)]
        picked = available.contents[torch.arange(32), best]
        of_target = torch.cat(policy.critic_target(tensors, points), 1).amin(1)
        target_values = policy.critic_target.of_candidates(tensors)
    np.testing.assert_array_equal(agent.predict(observations)[0], picked.numpy())
    assert not torch.equal(picked, available.contents[torch.arange(32), near[:, 0]])
    torch.testing.assert_close(of_target, target_values.gather(1, near).amax(1))  # selected by the target critic


def test_wrong_arguments_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^num_neighbours=0: must be a whole number in \[1, "):
        Wolpertinger(num_neighbours=0)
    with pytest.raises(ValueError, match=r"^algorithm='PPO': must be one of SAC, TD3$"):
        Wolpertinger(algorithm="PPO")
