"""The pretrained generalist: it plays any env, is trained further, and does not depend on names of features."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_large_models import NUM_LANES, env_of, network_for, played, small_config

import agents
from agents.imitation.teacher import lookahead_teacher
from agents.large_model import training
from agents.large_model.__main__ import main
from agents.large_model.agent import FrozenLargeModel, LargeModel
from agents.large_model.checkpoint import load_network, make_network
from agents.large_model.config import PRESETS, PRETRAINED, TrainingConfig, located
from agents.large_model.env import make_env
from agents.large_model.model import LargeModelNetwork
from agents.large_model.rollout import play
from agents.large_model.training_worlds import SampledWorlds
from agents.networks.item_content import ItemContent
from agents.networks.item_reader import trained_item_reader
from agents.networks.schema import MEANINGS, READINGS, Schema
from agents.references.value_weights import ValueWeights
from agents.rollouts.evaluation import evaluate
from agents.tracking.metrics_log import read_metrics
from recsim_env.scenario_sampling import sample_scenario
from recsim_env.simulation.observation import FEEDBACK

FEW = {"num_envs": 4, "batch_sessions": 4, "num_catalogs": 1, "num_validations": 2}


@pytest.mark.parametrize(
    "env_id", ["Video-v0", "NewsSlate-v0", "Ecommerce-v0", "Music-v0", "Ratings-v0", "SocialLifetime-v0"]
)
def test_the_pretrained_model_plays_any_env_at_once(env_id):
    env = make_env(f"recsim_env/{env_id}", 3, session_length=12, split="test")
    model = LargeModel.load(PRETRAINED, env)
    evaluation = evaluate(model, env, seed=0)
    assert np.isfinite(evaluation.returns).all()
    assert model.network.schema.is_generalist


def test_its_weights_are_small_and_name_no_scenario():
    assert located(PRETRAINED).stat().st_size <= 8 * 2**20
    schema = LargeModel.load(PRETRAINED).network.schema
    assert schema == Schema.generalist()
    assert set(schema.content_names) == {*MEANINGS, *READINGS}


def permuted(content: ItemContent, seed: int = 0) -> ItemContent:
    """The content with its set of features in another order and with other signs."""
    generator = np.random.default_rng(seed)
    number = content.directions.shape[1]
    signs = torch.tensor(generator.choice([-1.0, 1.0], number), dtype=torch.float32)
    order = torch.tensor(generator.permutation(number))
    return replace(content, directions=content.directions[:, order] * signs)


def test_the_names_order_and_signs_of_topic_features_make_no_difference():
    env = make_env("recsim_env/Video-v0", 8, session_length=12, split="train")
    network = LargeModel.load(PRETRAINED).network
    content = network.content_of(env)
    first, second = (
        play(network, env, each, seed=3, generator=torch.Generator().manual_seed(0), selection="greedy")
        for each in (content, permuted(content))
    )
    assert torch.equal(first.slates, second.slates)
    torch.testing.assert_close(first.log_probabilities, second.log_probabilities, atol=1e-4, rtol=1e-4)


def test_it_reads_titles_and_images():
    env = make_env("recsim_env/Video-v0", 8, session_length=12, split="train")
    network = LargeModel.load(PRETRAINED).network
    content = network.content_of(env)
    columns = [network.schema.content_names.index(name) for name in READINGS if not name.endswith("audio")]
    assert (content.features[:, columns].std(0) > 0.05).all()
    features = content.features.clone()
    features[:, columns] = 0.0
    whole, bare = (
        play(network, env, each, seed=3, generator=torch.Generator().manual_seed(0), selection="greedy")
        for each in (content, replace(content, features=features))
    )
    assert not torch.equal(whole.slates, bare.slates)


def test_it_is_the_default_of_the_agent():
    env = make_env("recsim_env/Video-v0", 4, session_length=6)
    weights = LargeModel(env=env).network.state_dict()
    expected = LargeModel.load(PRETRAINED).network.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in weights.items())
    with pytest.raises(ValueError, match="model_overrides: must not be given with weights='pretrained'"):
        LargeModel(env=env, model_overrides={"width": 32})


def test_some_sources_of_readings_are_missing_in_some_training_worlds():
    worlds = SampledWorlds(TrainingConfig(num_scenarios=1_000, num_sampled_worlds=16), num_envs=2)
    network = LargeModel.load(PRETRAINED).network
    is_there = {"title": [], "image": [], "audio": []}
    for world in worlds.at(0, network):
        for source, found in is_there.items():
            column = network.schema.content_names.index(f"appeal by {source}")
            found.append(bool(world.content.features[:, column].any()))
    for found in is_there.values():
        assert {True, False} == set(found)


def test_an_extended_network_plays_as_before():
    env = env_of("creators")
    torch.manual_seed(1)
    generalist = LargeModelNetwork(small_config(), Schema.generalist())
    for weight in generalist.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    extended = generalist.extended(generalist.schema.extended([env.simulator]))
    assert set(extended.schema.user_names) > set(generalist.schema.user_names)
    before, after = (played(each, env, each.content_of(env), selection="greedy") for each in (generalist, extended))
    assert torch.equal(before.slates, after.slates)
    torch.testing.assert_close(before.log_probabilities, after.log_probabilities, atol=1e-5, rtol=1e-5)


def test_training_further_keeps_the_best_weights_on_the_validation_split():
    env = make_env("recsim_env/Video-v0", 4, session_length=6, split="train")
    overrides = {"distillation": {"learning_rate": 1.0}}  # ruins the weights
    model = LargeModel.load(PRETRAINED, env, **FEW, stage_overrides=overrides)
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    model.learn(100)
    after = model.network.state_dict()
    for name in ("backbone.blocks.0.attention.query.weight", "queries.weight", "log_temperature"):
        torch.testing.assert_close(after[name], before[name])
    assert not model.network.schema.is_generalist


def test_training_further_changes_the_weights_and_can_be_repeated_and_saved(tmp_path):
    env = make_env("recsim_env/Video-v0", 4, session_length=6, split="train")
    model = LargeModel.load(PRETRAINED, env, **FEW | {"num_validations": 0})
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    model.learn(60).learn(60)
    assert not torch.equal(model.network.state_dict()["queries.weight"], before["queries.weight"])
    model.save(tmp_path / "model.safetensors")
    loaded = LargeModel.load(tmp_path / "model.safetensors", env)
    assert np.array_equal(evaluate(loaded, env, seed=0).returns, evaluate(model, env, seed=0).returns)


def test_the_frozen_model_of_the_registry_learns_nothing():
    env = make_env("recsim_env/Video-v0", 4, session_length=6)
    model = agents.make("large-model-pretrained", env)
    assert isinstance(model, FrozenLargeModel)
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    model.learn(1_000)
    assert all(torch.equal(weight, before[name]) for name, weight in model.network.state_dict().items())
    assert not model.uses_budget


def test_sampled_training_worlds_follow_from_the_iteration_and_are_never_reserved_ones():
    config = TrainingConfig(num_scenarios=5, num_sampled_worlds=2)
    network = network_for(env_of("single items", NUM_LANES))
    one_by_one = SampledWorlds(config, 2)
    seen = [world.env.simulator.world for i in range(6) for world in one_by_one.at(i, network)]
    resumed = SampledWorlds(config, 2)
    last = [world.env.simulator.world for world in resumed.at(5, network)]
    assert [world.scenario for world in last] == [world.scenario for world in seen[-2:]]
    for mine, theirs in zip(last, seen[-2:], strict=True):
        assert np.array_equal(mine.items.quality, theirs.items.quality)
    names = {world.scenario.name for world in seen}
    assert len(names) == 5
    assert names <= {sample_scenario(seed).name for seed in range(5)}


@pytest.mark.parametrize(("seed", "trust", "patience"), [(310, 1.0, 1.0), (331, 4.0, 2.0)])
def test_the_usual_teacher_gives_way_only_to_one_that_is_clearly_better(seed, trust, patience):
    worlds = SampledWorlds(TrainingConfig(num_scenarios=1_000, num_sampled_worlds=1), num_envs=4)
    [world] = worlds.at(seed, network_for(env_of("single items", NUM_LANES)))
    world.env.reset(seed=0)
    weights = ValueWeights(trust=trust, patience=patience, budget=1.0, following=1.0)
    assert np.array_equal(worlds.teacher(world)().scores, lookahead_teacher(world.env, weights)().scores)


def test_commands_use_the_pretrained_model_by_default(tmp_path, capsys):
    assert main(["evaluate", "--env", "recsim_env/News-v0", "--sessions", "3"]) == 0
    assert "recsim_env/News-v0" in capsys.readouterr().out
    (tmp_path / "person.json").write_text(
        '{"history": [{"item": 7, "click": 1, "rating": 5}], "candidates": [1, 2, 3]}'
    )
    assert main(["recommend", "--env", "recsim_env/Video-v0", "--json", str(tmp_path / "person.json")]) == 0
    assert {row["item"] for row in json.loads(capsys.readouterr().out)} == {1, 2, 3}


def test_recommend_explains_its_scores_on_request(tmp_path, capsys):
    (tmp_path / "person.json").write_text('{"history": [{"item": 7, "click": 1, "rating": 5}, {"item": 9}]}')
    person = str(tmp_path / "person.json")
    assert main(["recommend", "--top", "2", "--why", "--json", person]) == 0
    rows = json.loads(capsys.readouterr().out)
    for row in rows:
        assert {reason["item"] for reason in row["reasons"]} == {7, 9}
        assert "platform's prediction" in row["sources"]
    assert main(["recommend", "--top", "2", "--why", person]) == 0
    assert "why" in capsys.readouterr().out


def test_a_generalist_is_trained_by_one_command_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "trained_item_reader", lambda _, seed: trained_item_reader(2, seed))
    few = ["--preset", "micro", "--steps", "50", "--sessions", "8", "--evaluation-sessions", "2", "--no-comparison"]
    assert main(["pretrain", *few, "--out", str(tmp_path / "run")]) == 0
    line = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert line["stage"] == "distillation"
    assert np.isfinite(line["evaluation"])
    assert load_network(tmp_path / "run").schema.is_generalist


def test_a_history_of_another_scenario_is_read_by_the_names_of_its_content():
    video, music = (make_env(f"recsim_env/{name}-v0", 1, split="test") for name in ("Video", "Music"))
    model = LargeModel.load("pretrained", video)
    model.read_history_of(music)
    observation, _ = video.reset(seed=1)
    names = [name for name in video.simulator.world.items.feature_names if name.startswith("topic")]
    effects = []
    for name in names[:2]:
        item = music.catalog_features[:, music.simulator.world.items.feature_names.index(name)].argmax()
        feedback = np.zeros_like(observation["history_feedback"]).reshape(1, -1, len(FEEDBACK))
        feedback[0, 0] = [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]  # clicked, consumed, and rated 5
        items = np.full_like(observation["history_items"], -1)
        items[0, 0] = len(video.simulator.world.items) + item
        told = {**observation, "history_items": items, "history_feedback": feedback.reshape(1, -1)}
        effects.append((model.candidate_scores(told) - model.candidate_scores(observation))[0])
    topics = video.catalog_features[observation["candidate_items"][0]]
    columns = [video.simulator.world.items.feature_names.index(name) for name in names[:2]]
    liked = topics[:, columns[0]] - topics[:, columns[1]]  # more of the first topic than of the second
    assert np.corrcoef(effects[0] - effects[1], liked)[0, 1] > 0.3


def test_a_specialist_reads_no_history_of_another_scenario():
    video, music = (make_env(f"recsim_env/{name}-v0", 1, split="test") for name in ("Video", "Music"))
    network = make_network(PRESETS["micro"], Schema.of([video.simulator], False, False))
    model = LargeModel.from_network(network, video)
    with pytest.raises(ValueError, match="catalogues can be joined for a generalist only"):
        model.read_history_of(music)
