"""An exported model scores as PyTorch does, whatever sessions are in a batch, and needs no PyTorch."""

import copy
import itertools
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from agents.large_model.__main__ import main
from agents.large_model.agent import LargeModel
from agents.large_model.commands.recommend import rank
from agents.large_model.compact_observations import stack_observations
from agents.large_model.env import make_env
from agents.large_model.export import export_network
from agents.large_model.model import LargeModelNetwork
from agents.large_model.person import Person, observation_of
from agents.large_model.random_sessions import random_sessions
from agents.large_model.serving.app import create_app
from agents.large_model.serving.catalog import ServedCatalog
from agents.large_model.serving.config import ServingConfig
from agents.large_model.serving.database import Database
from agents.large_model.serving.export_folder import DESCRIPTION, PRECISIONS
from agents.large_model.serving.exported_agent import ExportedAgent, ExportedRunner
from agents.large_model.serving.exported_model import ExportedModel
from agents.large_model.serving.followed_versions import FollowedVersions
from agents.large_model.serving.model_versions import ModelVersions
from agents.large_model.serving.recommender import Recommender
from agents.large_model.serving.served_model import ServedModel
from agents.large_model.session_state import PolicyRunner
from agents.networks.schema import READINGS, Schema
from agents.rollouts.evaluation import evaluate
from tests.small_large_models import perturbed, small_config

NUM_LANES, NUM_STEPS = 6, 9
FEW_ITEMS = {"num_items": 150}
IMPATIENT = {"population": {"patience_mean": 1.0}, "behaviour": {"patience_skip": 0.6}, "catalog": FEW_ITEMS}
ENVS: dict[str, tuple[str, dict[str, Any]]] = {
    "single items": ("recsim_env/Video-v0", {"session_length": 6, "overrides": IMPATIENT}),
    "slates": ("recsim_env/VideoSlate-v0", {"session_length": 4, "overrides": {"catalog": FEW_ITEMS}}),
    "repeats and audio": ("recsim_env/Music-v0", {"session_length": 5, "overrides": {"catalog": FEW_ITEMS}}),
    "lifetimes and creators": (
        "recsim_env/SocialLifetime-v0",
        {"session_length": 6, "history_length": 12, "overrides": {"catalog": FEW_ITEMS}},
    ),
}


def env_of(name: str, num_envs: int = NUM_LANES) -> Any:
    env_id, arguments = ENVS[name]
    return make_env(env_id, num_envs, split="validation", **arguments)


@pytest.fixture(scope="module")
def network() -> LargeModelNetwork:
    """A specialist with every part that a network can have, and an item reader, without weights that are zero."""
    schema = Schema.of([env_of(name, 1).simulator for name in ("slates", "repeats and audio")])
    schema = replace(schema, content_names=(*schema.content_names, *READINGS))
    torch.manual_seed(0)
    sizes = {"num_layers": 1, "candidate_hidden_width": 12, "num_candidate_layers": 1}
    network = perturbed(LargeModelNetwork(small_config(**sizes), schema))
    assert network.reader is not None
    for weight in network.reader.buffers():
        weight.add_(0.1 * torch.randn(weight.shape))
    return network.eval()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model"
    export_network(network, path, precisions=PRECISIONS, num_checked=40)
    return path


@pytest.fixture(scope="module", params=ENVS)
def scene(request, network, folder) -> SimpleNamespace:
    env, model = env_of(request.param), ExportedModel(folder)
    content, tables = network.content_of(env), model.catalog(env)
    return SimpleNamespace(env=env, model=model, network=network, content=content, tables=tables)


def test_item_tables_are_those_of_pytorch(scene):
    with torch.no_grad():
        as_rows, as_candidates = scene.network.item_tables(scene.content)
    np.testing.assert_allclose(scene.tables.as_rows, as_rows, atol=1e-4)
    np.testing.assert_allclose(scene.tables.as_candidates, as_candidates, atol=1e-4)


def test_whole_sessions_score_as_in_pytorch(scene):
    number = scene.env.num_envs
    followed, reread = (PolicyRunner(scene.network, scene.env.simulator, scene.content, number) for _ in range(2))
    runner = ExportedRunner(scene.model, scene.tables, number)
    num_ended = 0
    for observations, starts in itertools.islice(random_sessions(scene.env, 3), NUM_STEPS):
        is_there = observations["candidate_items"] >= 0
        for found, expected in (
            (runner.scores(observations, starts), followed.scores(observations, starts)),
            (scene.model.start(scene.tables, observations)[0], reread.scores(observations, np.ones(number, bool))),
        ):
            np.testing.assert_allclose(found.logits, expected.logits, atol=1e-3, rtol=1e-4)
            scores = expected.logits * expected.temperature
            np.testing.assert_allclose(found.scores[is_there], scores[is_there], atol=1e-4)
            rewards = expected.expected_rewards[is_there]
            np.testing.assert_allclose(found.expected_rewards[is_there], rewards, atol=1e-4)
        num_ended += starts.sum()
    assert num_ended > number, "sessions of different lengths share a batch"


def single(observations: dict[str, np.ndarray], lane: int, num_candidates: int) -> dict[str, np.ndarray]:
    """One session's observation without the padding of its history, and with its first candidates alone."""
    own = {name: part[lane : lane + 1] for name, part in observations.items()}
    num_rows = max(int((own["history_items"] >= 0).sum()), 1)
    return {
        **own,
        "history_items": own["history_items"][:, :num_rows],
        "history_feedback": own["history_feedback"][:, : 7 * num_rows],
        "candidate_items": own["candidate_items"][:, :num_candidates],
        "candidate_relevance": own["candidate_relevance"][:, : 3 * num_candidates],
    }


def test_a_batch_of_any_sessions_scores_as_each_of_them_alone(scene):
    model, tables = scene.model, scene.tables
    slate_size = scene.env.simulator.config.slate_size
    played = list(itertools.islice(random_sessions(scene.env, 5), 4))
    before = [single(played[lane // 2][0], lane, 10 + 2 * lane) for lane in range(6)]
    after = [single(played[lane // 2 + 1][0], lane, 20 - lane) for lane in range(6)]
    num_shown = np.array([slate_size, slate_size, 0, slate_size, slate_size, 1])
    together, sessions = model.start(tables, stack_observations(before))
    later, sessions = model.step(tables, sessions, stack_observations(after), num_shown)
    for lane in range(6):
        alone, own = model.start(tables, before[lane])
        number = before[lane]["candidate_items"].shape[1]
        np.testing.assert_allclose(together.scores[lane, :number], alone.scores[0], atol=1e-4)
        assert (together.logits[lane, number:] < -1e8).all()
        alone, own = model.step(tables, own, after[lane], num_shown[lane : lane + 1])
        number = after[lane]["candidate_items"].shape[1]
        np.testing.assert_allclose(later.scores[lane, :number], alone.scores[0], atol=1e-4)
        assert own[0].num_bytes == sessions[lane].num_bytes, "padding of the batch is not kept"


def test_a_session_can_be_continued_twice(scene):
    (first, _), (second, _), (third, _) = itertools.islice(random_sessions(scene.env, 7), 3)
    number = np.full(scene.env.num_envs, scene.env.simulator.config.slate_size)
    _, sessions = scene.model.start(scene.tables, first)
    once, after = scene.model.step(scene.tables, sessions, second, number)
    scene.model.step(scene.tables, after, third, number)
    again, _ = scene.model.step(scene.tables, sessions, second, number)
    np.testing.assert_array_equal(once.scores, again.scores)


def test_reasons_are_those_of_pytorch(scene):
    observations = next(itertools.islice(random_sessions(scene.env, 9), 3, None))[0]
    lane = int((observations["history_items"] >= 0).sum(1).argmax())
    one = {name: part[lane : lane + 1] for name, part in observations.items()}
    for candidate in (None, 2):
        found = scene.model.explain(scene.tables, one, candidate)
        expected = LargeModel.from_network(scene.network, scene.env).explain(one, candidate)
        assert found.candidate == expected.candidate
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        effects = {reason.row: reason.effect for reason in found.reasons}
        assert effects == pytest.approx({reason.row: reason.effect for reason in expected.reasons}, abs=1e-4)
    with pytest.raises(ValueError, match="candidate=999: must be one of the"):
        scene.model.explain(scene.tables, one, 999)


_PLAY = """
import sys
import numpy as np
sys.modules.update({name: None for name in ("torch", "stable_baselines3", "onnx")})
import gymnasium, recsim_env
from agents.large_model.serving.exported_model import ExportedModel
env = gymnasium.make_vec("recsim_env/Video-v0", 2, vectorization_mode="vector_entry_point", observation="compact",
                         session_length=6)
model = ExportedModel(sys.argv[1])
tables = model.catalog(env)
observations, _ = env.reset(seed=0)
scores, sessions = model.start(tables, observations)
for _ in range(3):
    observations, *_ = env.step(scores.scores.argmax(1))
    scores, sessions = model.step(tables, sessions, observations, np.ones(2, int))
print([session.num_rows for session in sessions], model.explain(tables, {n: p[:1] for n, p in observations.items()}))
"""


def test_a_session_is_served_without_pytorch(folder):
    done = subprocess.run([sys.executable, "-c", _PLAY, str(folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[3, 3] Explanation(")


def test_the_description_has_sizes_versions_and_the_comparison(folder):
    description = json.loads((folder / DESCRIPTION).read_text())
    assert {file.name: file.stat().st_size for file in folder.iterdir() if file.name != DESCRIPTION} == (
        description["files"]
    )
    assert set(description["check"]) == set(PRECISIONS)
    for graph in ("start", "step"):
        assert description["check"]["fp32"][graph]["num_observations"] >= 40
        assert description["check"]["fp32"][graph]["largest_difference"] <= 1e-4
    assert {"recsim_env", "torch", "onnx", "onnxruntime"} <= set(description["versions"])
    assert ExportedModel(folder).version == description["version"]


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_eight_bits_score_nearly_as_full_precision(folder, precision):
    env = env_of("single items")
    observations, _ = env.reset(seed=1)
    full, reduced = ExportedModel(folder), ExportedModel(folder, precision=precision)
    tables = full.catalog(env)
    expected, found = (model.start(tables, observations)[0].scores for model in (full, reduced))
    assert 0.0 < np.abs(found - expected).max() < 0.5 * expected.std()


def test_an_exported_model_is_an_agent(folder):
    env = env_of("slates")
    found, again = (evaluate(ExportedAgent(folder), env, seed=4).returns for _ in range(2))
    np.testing.assert_array_equal(found, again)


def test_latency_times_an_export(folder, capsys):
    arguments = ["latency", "--model", str(folder), "--history", "12", "--recommendations", "3"]
    assert main([*arguments, "--precision", "int8-dynamic"]) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in ("int8-dynamic", "with the cache", "whole history", " ms"))
    assert main([*arguments, "--device", "cuda"]) == 2
    assert capsys.readouterr().err.strip() == "large_model: --device cuda: an export is executed on the CPU"
    assert main(["latency", "--precision", "int8-static"]) == 2
    assert capsys.readouterr().err.strip() == "large_model: --precision int8-static: needs an export (--model DIR)"


def test_a_folder_that_cannot_be_served_is_named_in_one_line(folder, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: not an exported model; must be written by `export --out`"):
        ExportedModel(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"precision='int4': must be one of those in .*: fp32, int8-dynamic"):
        ExportedModel(folder, precision="int4")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "step.onnx").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"step\.onnx: damaged \(must have \d+ bytes\)"):
        ExportedModel(copy)
    description = json.loads((copy / DESCRIPTION).read_text())
    (copy / DESCRIPTION).write_text(json.dumps({**description, "format": 99}))
    with pytest.raises(ValueError, match=r"an export of format 99 with inputs of version .*; export the model again"):
        ExportedModel(copy)


def test_sessions_that_are_too_long_for_the_model_are_refused(folder):
    with pytest.raises(ValueError, match=r"sessions of 220 items shown: the model reads at most 127"):
        ExportedModel(folder).catalog(make_env("recsim_env/Video-v0", 1, session_length=200))


def test_a_server_recommends_what_the_network_ranks_first(network, folder, tmp_path):
    env, model = env_of("single items", 1), ExportedModel(folder)
    catalog = ServedCatalog(env.simulator, "recsim_env/Video-v0", {})
    database = Database(tmp_path / "served.sqlite", catalog.fingerprint, catalog.about)
    served, config = ServedModel.of(model, env.simulator), ServingConfig(exploration=0.0, max_cached_sessions=1)
    recommender = Recommender(served, catalog, database, config)
    ranked = rank(LargeModel.from_network(network, env), observation_of(Person(history=[]), env.simulator))
    with TestClient(create_app(recommender), base_url="http://127.0.0.1") as client:
        session, other = (client.post("/sessions", json={}).json()["session"] for _ in range(2))

        def recommend(name: str, **request: Any) -> list[dict[str, Any]]:
            return client.post(f"/sessions/{name}/recommendations", json=request).json()["items"]

        first = recommend(session, num_items=5)
        assert [each["item"] for each in first] == [each["item"] for each in ranked[:5]]
        for name in ("score", "probability", "expected_reward"):
            assert [each[name] for each in first] == pytest.approx([each[name] for each in ranked[:5]], abs=1e-4)
        for step in range(1, 5):
            (shown,) = recommend(session, explain=True)
            assert len(shown["why"]) == min(step - 1, 3)
            answer = {"item": shown["item"], "click": step % 2, "rating": step}
            feedback = {"recommendation": step, "items": [answer]}
            assert client.post(f"/sessions/{session}/feedback", json=feedback).status_code == 200
        last = {"candidates": [each["item"] for each in ranked[-9:]], "num_items": 9}
        before = recommend(session, **last)
        assert len(recommend(other)) == 1  # which evicts the first
        after = recommend(session, **last)
    assert [each["item"] for each in before] == [each["item"] for each in after]
    assert [each["score"] for each in before] == pytest.approx([each["score"] for each in after], abs=1e-5)


def test_a_running_server_uses_the_network_that_is_published(network, folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # the first version has been exported already
        copied = "agents.large_model.export.export_network"
        patch.setattr(copied, lambda _, place, **__: shutil.copytree(folder, place))
        versions = ModelVersions.create(tmp_path / "models", network)
    better = perturbed(copy.deepcopy(network), scale=0.05, seed=1)
    version = versions.add(better)
    env = env_of("single items", 1)
    catalog = ServedCatalog(env.simulator, "recsim_env/Video-v0", {})
    config = ServingConfig(exploration=0.0, versions_poll_seconds=0.02)

    def client() -> TestClient:
        followed = FollowedVersions(versions, ExportedModel, lambda line: None)
        served = ServedModel.of(followed.published_model(), env.simulator)
        database = Database(tmp_path / "served.sqlite", catalog.fingerprint, catalog.about)
        app = create_app(Recommender(served, catalog, database, config), followed=followed)
        return TestClient(app, base_url="http://127.0.0.1")

    def recommend(client: TestClient, name: str) -> dict[str, Any]:
        return client.post(f"/sessions/{name}/recommendations", json={"num_items": 5, "explain": True}).json()

    with client() as running:
        session, other = (running.post("/sessions", json={}).json()["session"] for _ in range(2))
        for step in range(3):
            item = recommend(running, session)["items"][0]["item"]
            feedback = {"recommendation": step, "items": [{"item": item, "click": 1, "rating": 1 + step}]}
            assert running.post(f"/sessions/{session}/feedback", json=feedback).status_code == 200
        versions.publish(version, "for this test")
        deadline = time.monotonic() + 60.0
        while running.get("/healthz").json()["model"] != version:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first, continued = recommend(running, other), recommend(running, session)
    ranked = rank(LargeModel.from_network(better, env), observation_of(Person(history=[]), env.simulator))
    assert [each["item"] for each in first["items"]] == [each["item"] for each in ranked[:5]]
    with client() as restarted:
        assert recommend(restarted, session)["items"] == continued["items"]
    assert continued["model"] == version
