"""Sessions of several worlds are learned from in one pass as in one pass for each."""

import pytest
import torch
from small_large_models import network_for, perturbed, played, small_config

from agents.large_model.config import PRETRAINING, TrainingConfig
from agents.large_model.distributed import ProcessGroup
from agents.large_model.env import make_env
from agents.large_model.joined_worlds import joined_content, joined_sessions
from agents.large_model.model import LargeModelNetwork
from agents.large_model.training import Training
from agents.networks.schema import Schema

FEW = {
    "preset": "micro",
    "num_steps": 10_000,
    "num_scenarios": 100,
    "num_sampled_worlds": 2,
    "num_envs": 8,
    "batch_sessions": 4,
}


def generalist(**sizes):
    torch.manual_seed(0)
    return perturbed(LargeModelNetwork(small_config(max_tokens=512, **sizes), Schema.generalist()))


@pytest.fixture(scope="module")
def two_worlds():
    """Sessions of different lengths, with 6 and 10 candidates, in two catalogues; and the network that plays them."""
    network = generalist(candidate_hidden_width=16)
    sizes = (("Video", {"session_length": 9, "num_candidates": 6}), ("Social", {"num_candidates": 10}))
    envs = [make_env(f"recsim_env/{name}-v0", 4, **options) for name, options in sizes]
    contents = [network.content_of(env) for env in envs]
    return network, contents, [played(network, *pair) for pair in zip(envs, contents, strict=True)]


def test_joined_sessions_have_the_scores_of_each(two_worlds):
    network, contents, parts = two_worlds
    joined = joined_sessions(parts, contents)
    assert len(joined) == 8
    assert joined.num_steps == sum(part.num_steps for part in parts)
    together = network(joined, joined_content(contents))
    first = 0
    for part, content in zip(parts, contents, strict=True):
        alone, rows = network(part, content), slice(first, first + part.num_steps)
        width = part.candidates.shape[2]
        is_candidate = part.steps.candidates >= 0
        for name in ("logits", "clicks", "rewards"):
            found = getattr(together, name)[rows, :width][is_candidate]
            torch.testing.assert_close(found, getattr(alone, name)[is_candidate], atol=1e-4, rtol=1e-4)
        first += part.num_steps
    assert torch.equal(joined.steps.rewards, torch.cat([part.steps.rewards for part in parts]))


def test_short_sessions_are_read_apart_from_long_ones_with_the_same_states():
    network = generalist()
    tokens = torch.randn(6, 400, network.config.width, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([5, 400, 60, 128, 129, 300])
    apart, expected = network._states(tokens, lengths), network.backbone(tokens)
    for found, right, length in zip(apart, expected, lengths.tolist(), strict=True):
        torch.testing.assert_close(found[:length], right[:length], atol=1e-5, rtol=1e-5)


def test_a_generalist_learns_in_new_worlds_and_keeps_the_latest_for_replay():
    config = TrainingConfig(**{**PRETRAINING, **FEW, "num_replayed_worlds": 3})
    training = Training(config, ProcessGroup(device=torch.device("cpu")))
    for iteration in range(3):
        line = training.iterate()
        assert len(training._replay) == min(2 * (iteration + 1), 3)
    updates_of_an_iteration = 3 * 8 // 4  # epochs, sessions, batch
    assert training.num_updates == 3 * updates_of_an_iteration
    assert 0.0 < line["teacher"] < 10.0
    assert len({name for name in line if name.startswith("return/")}) == 2


def test_in_a_replayed_batch_worlds_count_alike_and_so_do_the_steps_of_a_world():
    """The expected weight of each step of a world is 1 / (number of worlds x steps of the world)."""
    training = Training(TrainingConfig(**{**PRETRAINING, **FEW}), ProcessGroup(device=torch.device("cpu")))
    training.iterate()
    stage, _ = training.config.stage_at(0)
    generator = torch.Generator().manual_seed(0)
    sums: dict[int, float] = {}
    number = 0
    for _ in range(100):
        for (part,) in training._drawn(training._replay, stage, list(training._replay), generator):
            for weight in part.labels["importance"].unique():
                steps = float((part.labels["importance"] == weight).sum())
                sums[round(1.0 / float(weight))] = sums.get(round(1.0 / float(weight)), 0.0) + steps * float(weight)
            number += 1
    assert len(sums) == 2
    for total in sums.values():
        assert total / number == pytest.approx(0.5, abs=0.05)


def test_a_candidate_network_does_nothing_at_first():
    env = make_env("recsim_env/Video-v0", 4, session_length=6)
    plain = network_for(env)
    deeper = LargeModelNetwork(small_config(candidate_hidden_width=16), plain.schema)
    deeper.load_state_dict(plain.state_dict(), strict=False)
    content = plain.content_of(env)
    sessions = played(plain, env, content)
    assert torch.equal(deeper(sessions, content).logits, plain(sessions, content).logits)
