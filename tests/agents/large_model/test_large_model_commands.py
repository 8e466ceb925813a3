"""The large model's commands: train, resume, evaluate, recommend, profile, latency."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CHECKOUT
from safetensors.numpy import load_file
from tracker_readers import check_copy

from agents.large_model.__main__ import main
from agents.large_model.agent import LargeModel
from agents.large_model.checkpoint import checkpoints_in
from agents.tracking.copies import COPIES
from agents.tracking.metrics_log import read_metrics
from recsim_env.locked_folder import locked
from recsim_env.logs import fit_ratings, read_log

SMALL = (
    "--sessions",
    "32",
    "--batch-sessions",
    "16",
    "--catalogs",
    "1",
    "--evaluation-sessions",
    "8",
    "--threads",
    "1",
)


def train(out: Path, *more: str) -> int:
    return main(["train", *SMALL, "--steps", "6000", "--supervised-share", "0.5", "--out", str(out), *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    assert train(out, "--evaluate-every", "3000") == 0
    return out


def test_training_leaves_a_checkpoint_and_a_line_for_each_iteration(trained):
    lines = read_metrics(trained / "metrics.jsonl")
    assert [line["iteration"] for line in lines] == list(range(1, len(lines) + 1))
    assert {line["stage"] for line in lines} == {"supervised", "reinforcement"}
    assert lines[-1]["num_steps"] >= 6_000
    assert lines[-1]["evaluation"] > 0.0
    for share in ("share_env", "share_rollout", "share_update"):
        assert 0.0 < lines[-1][share] < 1.0
    assert checkpoints_in(trained / "checkpoints")


def test_a_finished_training_is_not_trained_again(trained):
    before = (trained / "metrics.jsonl").read_bytes()
    assert train(trained, "--evaluate-every", "3000") == 0
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_a_finished_training_continues_with_more_steps(trained, tmp_path, capsys):
    out = shutil.copytree(trained, tmp_path / "longer")
    assert train(out, "--steps", "9000") == 0
    assert "continuing after" in capsys.readouterr().out
    assert read_metrics(out / "metrics.jsonl")[-1]["num_steps"] >= 9_000


def test_a_training_with_a_time_limit_goes_on_in_the_next_call(trained, tmp_path, capsys):
    out = tmp_path / "limited"
    assert train(out, "--evaluate-every", "3000", "--minutes", "0.0001") == 0
    assert "the same command continues the training" in capsys.readouterr().out
    assert [line["iteration"] for line in read_metrics(out / "metrics.jsonl")] == [1]
    assert train(out, "--evaluate-every", "3000") == 0
    said = capsys.readouterr().out
    assert "Bayes filter" in said
    ends = [read_metrics(folder / "metrics.jsonl")[-1] for folder in (out, trained)]
    assert ends[0]["evaluation"] == ends[1]["evaluation"]


def test_a_folder_of_another_training_is_refused_in_one_line(trained, capsys):
    assert train(trained, "--gamma", "0.5") == 2
    error = capsys.readouterr().err
    assert "gamma=0.99" in error
    assert error.count("\n") == 1


def test_sizes_that_scenarios_cannot_share_evenly_are_printed_and_stored(tmp_path, capsys):
    out = tmp_path / "out"
    envs = ("--env", "recsim_env/Video-v0", "--env", "recsim_env/News-v0")
    sizes = ("--sessions", "7", "--batch-sessions", "4", "--catalogs", "1", "--evaluation-sessions", "2")
    assert (
        main(["train", *envs, *sizes, "--steps", "1", "--no-comparison", "--preset", "micro", "--out", str(out)]) == 0
    )
    assert "num_envs=7: rounded to 6, 3 in each of 2 scenarios" in capsys.readouterr().out
    config = json.loads((out / "run.json").read_text())["config"]
    assert (config["num_envs"], config["effective_num_envs"], config["effective_batch_sessions"]) == (7, 6, 4)


def test_a_killed_training_resumes_to_the_same_result(tmp_path):
    trackers = [name for name in COPIES if find_spec(name)]
    options = [
        "--no-comparison",
        "--checkpoint-minutes",
        "0",
        *(word for name in trackers for word in ("--track", name)),
    ]
    arguments = ["train", *SMALL, "--steps", "8000", *options, "--out"]
    command = [sys.executable, "-m", "agents.large_model", *arguments]
    ends = {}
    for name, is_killed in (("whole", False), ("killed", True)):
        out = tmp_path / name
        if is_killed:
            running = subprocess.Popen([*command, str(out)], cwd=CHECKOUT, stdout=subprocess.DEVNULL)
            while not checkpoints_in(out / "checkpoints"):
                time.sleep(0.02)
                assert running.poll() is None, "it was over before it could be killed"
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            assert len(read_metrics(out / "metrics.jsonl")) < ends["whole"][0]
        assert main([*arguments, str(out)]) == 0
        lines = read_metrics(out / "metrics.jsonl")
        tensors = load_file(checkpoints_in(out / "checkpoints")[-1])
        learned = {name: tensor.tobytes() for name, tensor in tensors.items()}
        timeless = [(line["num_steps"], line["return"], line["gradient_norm"]) for line in lines]
        ends[name] = len(lines), timeless, learned
        for tracker in trackers:
            check_copy(out, tracker)
    run = json.loads((tmp_path / "killed" / "run.json").read_text())
    assert run["config"]["gamma"] == 0.99
    assert run["provenance"]["command"] == f"python -m agents.large_model {' '.join([*arguments, str(out)])}"
    assert ends["killed"] == ends["whole"]


def test_a_finished_training_is_copied_to_a_tracker_that_is_new(trained, tmp_path):
    out = shutil.copytree(trained, tmp_path / "finished")
    assert train(out, "--track", "tensorboard") == 0
    check_copy(out, "tensorboard")


def test_an_unknown_tracker_is_refused_in_one_line(tmp_path, capsys):
    assert train(tmp_path / "out", "--track", "mlfow") == 2
    error = capsys.readouterr().err
    assert "track='mlfow': unknown; did you mean 'mlflow'" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_evaluation_compares_with_random_and_popularity(trained, capsys):
    assert main(["evaluate", "--model", str(trained), "--sessions", "8"]) == 0
    said = capsys.readouterr().out
    for name in ("large model", "supervised heads alone", "platform ranking", "popularity", "random", "Bayes filter"):
        assert name in said


@pytest.fixture
def person(tmp_path):
    def write(content) -> str:
        path = tmp_path / "person.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_recommend_ranks_the_given_candidates(trained, person, capsys):
    said = {"history": [{"item": 7, "click": 1, "rating": 5}, {"item": 12}], "candidates": [3, 700, 41]}
    assert main(["recommend", "--model", str(trained), person(said), "--json"]) == 0
    ranked = json.loads(capsys.readouterr().out)
    assert {row["item"] for row in ranked} == {3, 700, 41}
    assert [row["score"] for row in ranked] == sorted((row["score"] for row in ranked), reverse=True)
    assert sum(row["probability"] for row in ranked) == pytest.approx(1.0, abs=1e-5)
    assert all(row["title"] for row in ranked)


def test_the_schema_of_a_person_describes_each_field(capsys):
    assert main(["recommend", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == {"history", "profile", "candidates", "time", "elapsed"}
    assert all("description" in each for each in schema["$defs"]["Shown"]["properties"].values())
    assert schema["$defs"]["Shown"]["required"] == ["item"]


def test_a_missing_person_is_refused_in_one_line(trained, capsys):
    assert main(["recommend", "--model", str(trained)]) != 0
    assert "PERSON: missing" in capsys.readouterr().err


def test_recommendations_depend_on_the_history_which_may_be_empty(trained, person, capsys):
    scores = []
    for history in ([], [{"item": 5, "click": 1, "consumption": 1.0, "rating": 1}] * 5):
        said = {"history": history, "candidates": [3, 700, 41]}
        assert main(["recommend", "--model", str(trained), person(said), "--json"]) == 0
        scores.append({row["item"]: row["expected_reward"] for row in json.loads(capsys.readouterr().out)})
    assert scores[0] != scores[1]


@pytest.fixture(scope="module")
def log_worlds(tmp_path_factory) -> list[Path]:
    """Two worlds, fitted to logs with the same ids from 101 to 250."""
    folder, worlds = tmp_path_factory.mktemp("logs"), []
    for seed in range(2):
        generator = np.random.default_rng(seed)
        pairs = [(user, item) for user in range(30) for item in range(101, 251) if generator.random() < 0.5]
        rows = [f"{user},{item},{generator.integers(1, 6)},{time}\n" for time, (user, item) in enumerate(pairs)]
        (folder / f"{seed}.csv").write_text("user,item,rating,timestamp\n" + "".join(rows))
        (folder / "items.csv").write_text(
            "item,title,size\n" + "".join(f"{i},Film {i},{i % 7}\n" for i in range(101, 251))
        )
        worlds.append(folder / f"{seed}.npz")
        fit_ratings(read_log(folder / f"{seed}.csv", folder / "items.csv")).save(worlds[-1])
    return worlds


@pytest.fixture(scope="module")
def trained_on_log(tmp_path_factory, log_worlds) -> Path:
    out = tmp_path_factory.mktemp("trained_on_log")
    assert train(out, "--env", "recsim_env/MovieLens-v0", "--world", str(log_worlds[0])) == 0
    return out


@pytest.mark.parametrize("kind", [int, str])
def test_items_of_a_log_go_in_and_out_by_its_own_ids(trained_on_log, log_worlds, person, capsys, kind):
    said = {"history": [{"item": kind(105), "click": 1, "rating": 5}], "candidates": [kind(107), kind(120)]}
    arguments = ["recommend", "--model", str(trained_on_log), "--world", str(log_worlds[0]), "--json"]
    assert main([*arguments, person(said)]) == 0
    assert {row["item"]: row["title"] for row in json.loads(capsys.readouterr().out)} == {
        107: "Film 107",
        120: "Film 120",
    }
    assert main([*arguments, person({"history": [{"item": kind(5)}]})]) == 2
    assert f"history[0].item={kind(5)!r}: not an item of the catalogue" in capsys.readouterr().err


@pytest.mark.parametrize("env_id", ["VideoSlate-v0", "Replay-v0"])
def test_evaluation_leaves_the_bayes_filter_out_where_it_cannot_act(log_worlds, capsys, env_id):
    world = ["--world", str(log_worlds[0].with_suffix(".csv"))] if env_id == "Replay-v0" else []
    assert main(["evaluate", "--env", f"recsim_env/{env_id}", "--sessions", "4", *world]) == 0
    said = capsys.readouterr().out
    assert "large model" in said
    assert "Bayes filter" not in said


def test_items_that_were_just_consumed_are_left_out(trained_on_log, log_worlds, person, capsys):
    arguments = ["recommend", "--model", str(trained_on_log), "--world", str(log_worlds[0]), "--json", "--top", "99"]
    consumed = [{"item": 105, "click": 1, "rating": 5}, {"item": 106}]
    assert main([*arguments, person({"history": consumed})]) == 0
    found = {row["item"] for row in json.loads(capsys.readouterr().out)}
    assert 105 not in found
    assert main([*arguments, person({"history": consumed, "candidates": [105, 106, 107]})]) == 0
    captured = capsys.readouterr()
    assert {row["item"] for row in json.loads(captured.out)} == {106, 107}
    assert "1 of the candidates left out, just consumed" in captured.err


def test_a_model_of_another_log_does_not_recommend(trained_on_log, log_worlds, person, capsys):
    arguments = ["recommend", "--model", str(trained_on_log), "--world", str(log_worlds[1])]
    assert main([*arguments, person({"history": []})]) == 2
    assert "was trained in another world than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Invalid JSON"),
        ([], "Input should be an object"),
        ({}, "history: Field required"),
        ({"history": [], "colour": 1}, "colour: unknown, must be one of history"),
        ({"history": [{"click": 1}]}, "history[0].item: Field required"),
        ({"history": [{"item": 99_999}]}, "history[0].item=99999"),
        ({"history": [{"item": 1, "rating": 6}]}, "history[0].rating: Input should be less than or equal to 5"),
        ({"history": [{"item": 1, "liked": 1}]}, "history[0].liked: unknown"),
        ({"history": [], "profile": {"age": 3}}, "profile.age"),
        ({"history": [], "candidates": []}, "candidates"),
        ({"history": [], "candidates": [1.5]}, "candidates[0]: Input should be a valid integer"),
        ({"history": [], "candidates": ["x"]}, "candidates[0]='x': must be a whole number in"),
        ({"history": [], "time": -1}, "time: Input should be greater than or equal to 0"),
        ({"history": [], "candidates": [4, 9, 4]}, "candidates: 4 occurs more than once"),
        ({"history": [], "profile": {"elapsed": 0.5}}, "profile.elapsed: unknown"),
        ("[" * 100_000, "recursion limit exceeded"),
    ],
)
def test_a_wrong_person_is_refused_in_one_line(trained, person, capsys, content, words):
    assert main(["recommend", "--model", str(trained), person(content)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_warnings_about_a_checkpoint_are_not_in_the_json(trained, person, tmp_path, capsys):
    model = tmp_path / "model[/red]"  # a name that looks like markup
    shutil.copytree(trained, model)
    last = checkpoints_in(model / "checkpoints")[-1]
    last.with_name("steps-000000999999.safetensors").write_bytes(b"?")
    said = {"history": [], "candidates": [3, 700]}
    assert main(["recommend", "--model", str(model), person(said), "--json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == 2
    assert captured.err.count("\n") == 1
    assert str(model) in captured.err
    assert captured.err.endswith("using the checkpoint before it\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--env", "recsim_env/Vdeo-v0"), "Did you mean: `Video`"),
        (("--env", "CartPole-v1"), "env 'CartPole-v1': not an env for the large model"),
        (
            ("--env", "recsim_env/VideoContent-v0"),
            "takes points in content space, and the large model shows candidates",
        ),
        (("--device", "tpu"), "device='tpu': must be cpu, cuda or cuda:NUMBER"),
    ],
)
def test_an_unknown_scenario_or_device_is_refused_in_one_line(tmp_path, capsys, arguments, words):
    assert train(tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_help_needs_no_pytorch():
    program = "import sys; from agents.large_model.__main__ import main; main(['train', '--help'])"
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True, cwd=CHECKOUT
    )
    assert "--supervised-share" in ran.stdout
    assert "None" not in ran.stdout
    assert "torch" not in ran.stderr


def test_weights_that_are_not_finite_are_refused_in_one_line(trained, tmp_path, person, capsys):
    agent = LargeModel.load(trained, "recsim_env/Video-v0")
    with torch.no_grad():
        for weight in agent.network.parameters():
            weight.fill_(torch.nan)
    agent.save(tmp_path / "agent")
    assert main(["recommend", "--model", str(tmp_path / "agent"), person({"history": []})]) == 2
    error = capsys.readouterr().err
    assert "not finite" in error
    assert error.count("\n") == 1


def test_two_trainings_do_not_write_into_one_folder(tmp_path, capsys):
    with locked(tmp_path):
        assert train(tmp_path) == 2
    error = capsys.readouterr().err
    assert "another run is writing" in error
    assert error.count("\n") == 1


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path, person, capsys):
    for folder in (tmp_path / "nowhere", tmp_path):
        assert main(["recommend", "--model", str(folder), person({"history": []})]) == 2
        error = capsys.readouterr().err
        assert str(folder) in error
        assert error.count("\n") == 1


def test_profile_prints_shares_of_time(capsys):
    assert main(["profile", *SMALL[:6], "--threads", "1", "--iterations", "1", "--operations", "3"]) == 0
    said = capsys.readouterr().out
    assert "rollout" in said
    assert "aten::" in said


def test_latency_with_and_without_the_cache(trained, capsys):
    assert main(["latency", "--model", str(trained), "--history", "12", "--recommendations", "3"]) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in ("with the cache", "whole history", "median", "history 12", " ms"))
    assert main(["latency", "--history", "5000"]) == 2
    assert capsys.readouterr().err.strip() == "large_model: --history=5000: must be a whole number in [1, 1021]"


def test_a_missing_gpu_is_refused_in_one_line(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for said in (train(tmp_path, "--device", "cuda"), main(["latency", "--device", "cuda"])):
        assert said == 2
    error = capsys.readouterr().err
    assert error.count("finds no GPU") == error.count("\n") == 2
