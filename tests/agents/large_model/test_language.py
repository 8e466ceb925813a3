"""A language model as backbone, with a tiny one that is created and saved here."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from conftest import CHECKOUT
from small_language_models import WIDTH, raised, save_language_model

from agents.large_model.__main__ import main
from agents.large_model.agent import LargeModel
from agents.large_model.checkpoint import MOMENTS, load_checkpoint, make_network, rebuild, save_checkpoint
from agents.large_model.config import PRESETS, LanguageConfig, TrainingConfig
from agents.large_model.distributed import ProcessGroup
from agents.large_model.env import make_env
from agents.large_model.language import LanguageBackbone
from agents.large_model.model import LargeModelNetwork
from agents.large_model.online.learner import learn_online
from agents.large_model.training import Training
from agents.networks.item_content import NUM_DESCRIBED_FEATURES, description
from agents.networks.plackett_luce import slate_log_probabilities
from agents.networks.schema import Schema

CPU = torch.device("cpu")
LENGTH = 9
ENV = {"split": "train", "session_length": 6, "overrides": {"catalog": {"num_items": 300}}}
SMALL = {"item_width": 16, "candidate_width": 16}


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> str:
    return save_language_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def other_llama(tmp_path_factory) -> str:
    return save_language_model(tmp_path_factory.mktemp("other"), seed=1)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory) -> str:
    return save_language_model(tmp_path_factory.mktemp("gpt2"), "gpt2")


def backbone_of(name: str, **settings) -> LanguageBackbone:
    """With adapters that say something: they say nothing at the start."""
    torch.manual_seed(0)
    backbone = LanguageBackbone(LanguageConfig(name=name, **settings))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in backbone.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return backbone


def config_of(name: str, **overrides) -> TrainingConfig:
    small = {"num_envs": 8, "num_catalogs": 2, "batch_sessions": 4, "num_steps": 300, "supervised_share": 0.5}
    return TrainingConfig(
        **{"language_model": name, "env_arguments": ENV, "model_overrides": SMALL, **small, **overrides}
    )


def training_of(name: str, **overrides) -> Training:
    return Training(config_of(name, **overrides), ProcessGroup(device=CPU))


def model_on(name: str, env) -> LargeModelNetwork:
    sizes = replace(PRESETS["tiny"], **SMALL)
    torch.manual_seed(0)
    return make_network(sizes, Schema.of([env.simulator]), LanguageConfig(name=name))


def tokens_of(num_sessions: int = 3, length: int = LENGTH, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_sessions, length, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_decoding_equals_one_pass_for_sessions_of_different_lengths(kind, request):
    backbone, tokens = backbone_of(request.getfixturevalue(kind)).eval(), tokens_of()
    with torch.no_grad():
        whole = backbone(tokens)
        cache = backbone.make_cache(3, LENGTH + 3, CPU, torch.float32)
        found, read = torch.zeros_like(whole), torch.zeros(3, dtype=torch.int64)
        for numbers in ([4, 1, 2], [1, 3, 0], [2, 2, 2], [1, 1, 1], [1, 2, 4]):
            begins, ends = read.clone(), read + torch.tensor(numbers)
            padded = torch.full((3, max(numbers), WIDTH), 7.0)  # what does not count must not show
            for lane in range(3):
                padded[lane, : numbers[lane]] = tokens[lane, begins[lane] : ends[lane]]
            states = backbone.decode(padded, torch.tensor(numbers), cache)
            for lane in range(3):
                found[lane, begins[lane] : ends[lane]] = states[lane, : numbers[lane]]
            read = ends
    assert read.tolist() == cache.lengths.tolist() == [LENGTH] * 3
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-4)


def test_some_sessions_continue_restart_or_are_dropped_while_others_wait(llama):
    backbone, tokens, others = backbone_of(llama), tokens_of(), tokens_of(seed=1)
    with torch.no_grad():
        whole, retrained = backbone(tokens), backbone(others)
        cache = backbone.make_cache(3, LENGTH, CPU, torch.float32)
        backbone.decode(tokens[:, :3], torch.tensor([3, 3, 3]), cache)
        some = backbone.decode(tokens[[2, 0], 3:5], torch.tensor([2, 2]), cache, torch.tensor([2, 0]))
        torch.testing.assert_close(some, whole[[2, 0], 3:5], rtol=1e-4, atol=1e-4)
        cache.lengths[torch.tensor([0])] = 0
        first = backbone.decode(others[:1, :4], torch.tensor([4]), cache, torch.tensor([0]))
        torch.testing.assert_close(first, retrained[:1, :4], rtol=1e-4, atol=1e-4)
        cache.select(torch.tensor([2, 0]))
        assert cache.lengths.tolist() == [5, 4]
        last = backbone.decode(torch.stack([tokens[2, 5:7], others[0, 4:6]]), torch.tensor([2, 2]), cache)
        torch.testing.assert_close(last, torch.stack([whole[2, 5:7], retrained[0, 4:6]]), rtol=1e-4, atol=1e-4)


def test_states_depend_on_earlier_tokens_and_on_adapters(llama):
    backbone, tokens = backbone_of(llama), tokens_of()
    with torch.no_grad():
        torch.testing.assert_close(backbone(tokens)[:, :5], backbone(tokens[:, :5]), rtol=1e-4, atol=1e-4)
        without = LanguageBackbone(LanguageConfig(name=llama))(tokens)
        assert (backbone(tokens) - without).abs().max() > 0.01


def test_dropout_is_off_in_training(gpt2):
    backbone, tokens = backbone_of(gpt2), tokens_of()
    with torch.no_grad():
        assert torch.equal(backbone.train()(tokens), backbone.eval()(tokens))


def test_only_adapters_and_heads_are_trained(llama):
    env = make_env("recsim_env/Video-v0", 4, **ENV)
    model = model_on(llama, env)
    assert model.config.width == WIDTH
    assert model.config.max_tokens == transformers.LlamaConfig().max_position_embeddings
    learned = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert {name for name in learned if name.startswith("backbone.base")} == {
        name for name, _ in model.named_parameters() if ".lora_" in name
    }
    assert sum("lora_A" in name for name in learned) == 2 * 7  # all linear layers of two blocks
    assert model.num_parameters == sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert set(model.trained_weights()) == set(learned)


def test_adapters_are_added_to_the_named_layers(llama):
    learned = {name for name, x in backbone_of(llama, lora_targets=("q_proj",)).named_parameters() if x.requires_grad}
    assert sum(".q_proj." in name for name in learned) == 4
    assert not any("v_proj" in name for name in learned)


def test_scores_in_play_equal_those_of_one_pass(llama):
    training = training_of(llama)
    stage, _ = training.config.stage_at(0)
    (world,) = training.worlds.at(0, training.network)
    sessions = training._play(stage, 0.5, world, world.content)
    with torch.no_grad():
        scores = training.network(sessions, world.content)
    steps = sessions.steps
    found = slate_log_probabilities(scores.logits, steps.slates)
    torch.testing.assert_close(found, steps.log_probabilities, rtol=1e-4, atol=1e-4)


def test_training_leaves_the_language_model_unchanged_and_resumes(llama, other_llama, tmp_path):
    training = training_of(llama)
    before = {name: weight.clone() for name, weight in training.network.named_parameters()}
    while training.num_steps < 200:
        metrics = training.iterate()
    assert metrics["stage"] == "reinforcement"
    for name, weight in training.network.named_parameters():
        is_base = name.startswith("backbone.base") and ".lora_" not in name
        assert weight.requires_grad != is_base
        if is_base:
            assert torch.equal(weight, before[name])
        elif ".lora_" in name or name in ("encoder.description.weight", "queries.weight"):
            assert not torch.equal(weight, before[name])

    path = save_checkpoint(tmp_path / "checkpoints", training.checkpoint())
    saved = safetensors.torch.load_file(path)
    assert {name for name in saved if not name.startswith(MOMENTS)} == set(training.network.trained_weights())
    assert not any("embed_tokens" in name or "base_layer" in name for name in saved)
    checkpoint = load_checkpoint(path, lambda checkpoint: checkpoint)
    assert checkpoint.state["network"]["language_model"]["name"] == llama
    assert len(checkpoint.state["network"]["language_model"]["fingerprint"]) == 64

    elsewhere = shutil.copytree(llama, tmp_path / "elsewhere")
    again = training_of(str(elsewhere))
    again.restore(checkpoint)
    for each in (training, again):
        each.iterate()
    assert again.num_steps == training.num_steps
    for (name, weight), other in zip(training.network.named_parameters(), again.network.parameters(), strict=True):
        assert torch.equal(weight, other), name

    foreign = training_of(other_llama)
    assert "was trained with language_model (sha256)=" in raised(ValueError, foreign.restore, checkpoint)
    with torch.no_grad():
        tokens = tokens_of()
        restored = rebuild(checkpoint.state["network"], checkpoint.model, str(elsewhere))
        again.restore(checkpoint)
        assert torch.equal(restored.backbone(tokens), again.network.backbone(tokens))


def test_a_saved_agent_does_not_hold_the_language_model(llama, other_llama, tmp_path):
    train_env, env = (make_env("recsim_env/Video-v0", lanes, **ENV) for lanes in (8, 4))
    agent = LargeModel("tiny", train_env, language_model=llama, model_overrides=SMALL).learn(100)
    agent.save(tmp_path / "agent")
    assert not any("embed_tokens" in name for name in safetensors.torch.load_file(tmp_path / "agent"))
    agent.set_env(env)
    observations, _ = env.reset(seed=5)
    shown = [each.predict(observations)[0] for each in (agent, LargeModel.load(tmp_path / "agent", env))]
    np.testing.assert_array_equal(*shown)
    words = raised(ValueError, LargeModel.load, tmp_path / "agent", env, language_model=other_llama)
    assert "differs" in words


def test_a_description_names_the_title_and_the_strongest_features():
    names = ("topic: space", "topic: football", "quality cue", "appeal cue", "price")
    said = description("Amazing: football and league, in depth", names, np.array([0.1, 0.8, 0.0, -0.6, 0.2]))
    assert said == "Amazing: football and league, in depth. topic: football 0.8; appeal cue -0.6; price 0.2"
    assert said.count(";") == NUM_DESCRIBED_FEATURES - 1
    assert description("Film 1", names, np.zeros(5)) == "Film 1."


def test_similar_descriptions_have_similar_vectors(llama):
    backbone = backbone_of(llama)
    texts = [
        "amazing football. topic: football 0.8",
        "football in depth. topic: football 0.7",
        "kitchen garden travel.",
    ]
    vectors = backbone.describe(texts)
    assert vectors.shape == (3, WIDTH)
    torch.testing.assert_close(vectors.square().mean(1), torch.ones(3), rtol=1e-3, atol=0.0)
    products = vectors @ vectors.T / WIDTH
    assert products[0, 1] > products[0, 2] + 0.2
    torch.testing.assert_close(backbone.describe(texts[1:])[0], vectors[1])
    with torch.no_grad():
        backbone.base.get_input_embeddings().weight.add_(1.0)  # what all words have in common says nothing of an item
    torch.testing.assert_close(backbone.describe(texts), vectors, rtol=1e-3, atol=1e-3)


def test_only_a_language_model_reads_descriptions(llama):
    env = make_env("recsim_env/Video-v0", 4, **ENV)
    model = model_on(llama, env)
    content = model.content_of(env)
    assert content.descriptions is not None
    assert content.descriptions.shape == (len(content), WIDTH)
    with torch.no_grad():
        said = model.encoder(content)
        assert not torch.equal(said, model.encoder(replace(content, descriptions=None)))
    own = LargeModelNetwork(replace(PRESETS["tiny"], **SMALL), model.schema)
    assert own.content_of(env).descriptions is None
    assert not any("description" in name for name in own.state_dict())


def test_unusable_settings_are_refused_in_one_line(gpt2):
    words = raised(ValueError, LanguageBackbone, LanguageConfig(name=gpt2, lora_targets=("nowhere",)))
    assert words.startswith("lora_targets=('nowhere',): must be names of linear layers")
    backbone = backbone_of(gpt2)
    assert "reads at most 64 tokens" in raised(ValueError, backbone.make_cache, 2, 65, CPU, torch.float32)
    assert "width=64" in raised(ValueError, TrainingConfig, language_model=gpt2, model_overrides={"width": 64})
    assert "lora_rank=0" in raised(ValueError, TrainingConfig, language_model=gpt2, lora_rank=0)


def test_weights_of_another_model_are_refused_in_one_line(llama):
    model = model_on(llama, make_env("recsim_env/Video-v0", 4, **ENV))
    weights = model.trained_weights()
    assert "is missing" in raised(ValueError, rebuild, model.settings(), dict(list(weights.items())[1:]))
    assert "more is unknown" in raised(ValueError, rebuild, model.settings(), {**weights, "more": CPU})


def test_commands_find_a_language_model_that_was_moved(llama, tmp_path, capsys):
    first = shutil.copytree(llama, tmp_path / "first")
    small = [
        "--steps",
        "100",
        "--sessions",
        "4",
        "--batch-sessions",
        "4",
        "--catalogs",
        "1",
        "--evaluation-sessions",
        "2",
    ]
    train = ["train", "--out", str(tmp_path / "run"), *small, "--lora-rank", "2", "--language-model"]
    assert main([*train, str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main([*train, str(first)]) == 0
    moved = shutil.move(first, tmp_path / "approx_kl")
    evaluate = ["evaluate", "--model", str(tmp_path / "run"), "--sessions", "2"]
    assert main(evaluate) == 2
    words = capsys.readouterr().err
    assert "no such folder" in words
    assert words.count("\n") == 1
    assert main([*evaluate, "--language-model", str(moved)]) == 0


def test_online_learning_leaves_the_language_model_unchanged(llama):
    env = make_env("recsim_env/Video-v0", 8, **ENV)
    model = model_on(llama, env)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    learn_online(model, env, 90, seed=0)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert any(".lora_" in name for name in changed)
    assert changed <= set(model.trained_weights())


def test_a_missing_package_is_named_with_its_installation(llama, monkeypatch):
    monkeypatch.delitem(sys.modules, "agents.large_model.language")
    monkeypatch.setitem(sys.modules, "peft", None)
    words = raised(ValueError, training_of, llama)
    assert words == f"language_model={llama!r}: needs the package peft: pip install 'recsim-env[llm]'"


def test_without_a_language_model_its_packages_are_not_loaded():
    program = "import sys, agents.large_model.agent; print(*{name.split('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    loaded = set(ran.stdout.split())
    assert "torch" in loaded
    assert not loaded & {"transformers", "peft", "tokenizers"}


def test_unusable_language_models_are_refused_in_one_line(tmp_path, monkeypatch):
    def load(name, **settings):
        return raised(ValueError, LanguageBackbone, LanguageConfig(name=str(name), **settings))

    missing = load(tmp_path / "nowhere")
    assert missing.startswith(f"language_model={str(tmp_path / 'nowhere')!r}: no such folder; must be a folder with")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "not found on the hub" in load("nobody/nothing")
    (tmp_path / "empty").mkdir()
    assert "cannot be loaded from that folder" in load(tmp_path / "empty")
    whole = Path(save_language_model(tmp_path / "whole"))
    weights = safetensors.torch.load_file(whole / "model.safetensors")
    del weights["model.norm.weight"]
    safetensors.torch.save_file(weights, whole / "model.safetensors", {"format": "pt"})
    assert "1 weights are missing" in load(whole)
    (whole / "model.safetensors").write_bytes(b"damaged")
    assert "cannot be loaded from that folder" in load(whole)
    assert "is not causal" in load(save_language_model(tmp_path / "bert", "bert"))
    assert "bloom cannot decode sessions" in load(save_language_model(tmp_path / "bloom", "bloom"))


def test_a_downloaded_model_is_found_without_a_network(llama, tmp_path, monkeypatch):
    downloaded = tmp_path / "models--owner--small"
    shutil.copytree(llama, downloaded / "snapshots" / "1a2b3c")
    (downloaded / "refs").mkdir()
    (downloaded / "refs" / "main").write_text("1a2b3c")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    found = LanguageBackbone(LanguageConfig(name="owner/small"))
    assert found.config.fingerprint == LanguageBackbone(LanguageConfig(name=llama)).config.fingerprint
    asked = []
    monkeypatch.setattr(huggingface_hub, "model_info", lambda name, timeout: asked.append(name))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: llama)
    LanguageBackbone(LanguageConfig(name="owner/small"))
    assert asked == ["owner/small"]
