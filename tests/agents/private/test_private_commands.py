"""Commands: train, delete a person everywhere, audit; errors in one line."""

import json
import shutil

import gymnasium
import polars as pl
import pytest
from people_logs import write_people

from agents.private.__main__ import main
from agents.private.private_reward_model import PrivateRewardModel
from agents.private.sharded_reward_model import ShardedRewardModel
from recsim_env import LogWriter, read_events, read_users
from recsim_env.logs import fit_log

UPDATES = ["--updates", "8", "--people-per-step", "4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a log, its sharded model and its private model."""
    folder = tmp_path_factory.mktemp("people")
    log = ["--log", str(write_people(folder / "log"))]
    assert main(["train", *log, "--model", str(folder / "sharded"), "--shards", "4", *UPDATES]) == 0
    assert main(["train", *log, "--model", str(folder / "private"), "--epsilon", "2", *UPDATES]) == 0
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def arguments(folder, model="sharded"):
    return ["--model", str(folder / model), "--log", str(folder / "log")]


def test_the_private_model_is_in_its_folder_and_states_its_budget(trained):
    model = PrivateRewardModel.load(trained / "private" / "model.safetensors")
    assert 1.9 < model.spent[0] <= 2.0


def test_after_forget_the_model_is_that_of_a_log_without_the_person(folder, capsys):
    events = read_events(folder / "log")
    person = int(events["user"][0])
    before = ShardedRewardModel.load(folder / "sharded" / "model.safetensors").network.state_dict()
    assert main(["forget", *arguments(folder), "--person", str(person)]) == 0
    output = capsys.readouterr().out
    assert f"deleted 1 person: {(events['user'] == person).sum()} rows" in output
    assert "retrained 1 of 4 shards: 2 of 8 gradient steps (25%)" in output
    again = ShardedRewardModel(num_shards=4, num_updates=8, people_per_step=4).learn_from_log(folder / "log")
    after = ShardedRewardModel.load(folder / "sharded" / "model.safetensors").network.state_dict()
    assert all((after[name] == weight).all() for name, weight in again.network.state_dict().items())
    assert any((after[name] != before[name]).any() for name in before)
    (record,) = map(json.loads, (folder / "sharded" / "deletions.jsonl").read_text().splitlines())
    assert (record["num_people"], record["num_updates"], record["num_updates_of_all"]) == (1, 2, 8)


@pytest.mark.filterwarnings("ignore:.*no distinguishing features")
def test_after_forget_no_file_of_the_model_or_the_log_contains_the_persons_id(tmp_path):
    ratings = [
        f"reader-{user}-@example.org,m{item},{1 + item % 5}" for user in range(30) for item in range(user % 7, 40)
    ]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item,rating", *ratings]))
    fit_log(tmp_path / "ratings.csv", num_factors=2).save(tmp_path / "world.npz")
    env = gymnasium.make_vec("recsim_env/MovieLens-v0", 8, world=str(tmp_path / "world.npz"), observation="full")
    LogWriter(env, "random", tmp_path / "log", num_steps=240, rows_per_shard=80).write()
    assert main(["train", *arguments(tmp_path), "--shards", "4", *UPDATES]) == 0
    shown = read_users(tmp_path / "log").join(read_events(tmp_path / "log").select("user").unique(), on="user")
    person, other = shown["id"][:2]

    def files_with(name):
        files = [file for part in ("log", "sharded") for file in (tmp_path / part).iterdir()]
        return [
            file.name
            for file in files
            if name.encode() in file.read_bytes()
            or (file.suffix == ".parquet" and name in str(pl.read_parquet(file).to_dicts()))
        ]

    assert files_with(person) == files_with(other) != []
    assert main(["forget", *arguments(tmp_path), "--person", person]) == 0
    assert files_with(person) == []
    assert files_with(other) != []
    user = shown["user"][0]
    assert user not in read_events(tmp_path / "log")["user"]


def test_an_interrupted_deletion_is_finished_by_the_same_command(folder, monkeypatch, capsys):
    person = str(read_events(folder / "log")["user"][0])
    with monkeypatch.context() as patch:
        patch.setattr(ShardedRewardModel, "fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["forget", *arguments(folder), "--person", person]) == 130
    assert main(["forget", *arguments(folder), "--person", person]) == 0
    assert "retrained 1 of 4 shards" in capsys.readouterr().out
    assert main(["forget", *arguments(folder)]) == 0
    assert "retrained 0 of 4 shards: 0 of 8 gradient steps (0%)" in capsys.readouterr().out


def test_an_audit_prints_both_attacks(tmp_path, capsys):
    population = {"overrides": {"population": {"num_users": 400}}}
    write_people(tmp_path / "many", seed=7, **population)
    write_people(tmp_path / "more", seed=900, **population)
    model, log = str(tmp_path / "of many"), str(tmp_path / "many")
    assert main(["train", "--model", model, "--log", log, "--shards", "2", *UPDATES]) == 0
    assert main(["audit", "--model", model, "--log", log, "--others", str(tmp_path / "more"), "--shadows", "2"]) == 0
    output = capsys.readouterr().out
    assert "threshold" in output
    assert "LiRA" in output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["forget", "--person", "no one"], "private: user 'no one': is not among the users of "),
        (["train", "--shards", "2"], "model.safetensors: exists; choose another folder"),
        (["train", "--shards", "2", "--delta", "0.1"], "private: --delta: needs --epsilon"),
        (["audit", "--others", "nowhere"], "nowhere: not the folder of a simulated log"),
    ],
)
def test_wrong_arguments_end_in_one_line_and_change_nothing(command, message, trained, capsys):
    before = {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}
    assert main([command[0], *arguments(trained), *command[1:]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert before == {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}


def test_a_private_model_has_no_shards_to_forget_people_from(trained, capsys):
    assert main(["forget", *arguments(trained, "private"), "--person", "1"]) == 2
    error = capsys.readouterr().err
    assert "was written by 'agents.private.private_reward_model:PrivateRewardModel'" in error
    assert error.count("\n") == 1
