"""Log sets: reproducible logs of three behaviour policies, which are read only if their hash matches."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.running.log_sets import POLICIES
from benchmarks.suites import PRESETS
from recsim_env import load_log_set, log_set_names, read_events
from recsim_env.logs.simulated import log_sets
from recsim_env.logs.simulated.log_folder import read_manifest, write_shard
from recsim_env.logs.simulated.log_sets import content_hash

COMMAND = ["log-sets", "--scenario", "Video", "--steps", "300"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log-sets")
    assert main([*COMMAND, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def committed(folder, monkeypatch):
    """Stand-in hashes, of the small logs, for those in the package."""
    manifest = json.loads((folder / "log_sets.json").read_text())
    monkeypatch.setattr(log_sets, "_hashes", lambda: manifest)
    return manifest["logs"]


def test_the_package_has_a_hash_for_each_policy_in_each_scenario():
    assert set(log_set_names()) == {f"{scenario}/{policy}" for scenario in PRESETS for policy in POLICIES}


def test_a_log_set_has_a_log_of_each_policy_with_known_propensities(folder, committed):
    assert list(committed) == ["Video/random", "Video/mixed", "Video/expert"]
    for name in committed:
        events = load_log_set(folder, name)
        assert len(events) == 300
        assert np.isfinite(events["log_propensity"].to_numpy()).all()


def test_the_same_command_writes_the_same_content_in_another_folder(folder, committed, tmp_path):
    assert main([*COMMAND, "--out", str(tmp_path)]) == 0
    again = json.loads((tmp_path / "log_sets.json").read_text())["logs"]
    assert again == committed


def test_a_log_of_other_content_is_refused_in_one_line(folder, committed, tmp_path):
    assert main([*COMMAND[:-1], "200", "--out", str(tmp_path)]) == 0
    assert content_hash(tmp_path / "Video" / "mixed") != committed["Video/mixed"]["sha256"]
    with pytest.raises(ValueError, match=r"Video/mixed: has SHA-256 \w+\.\.\., must be") as error:
        load_log_set(tmp_path, "Video/mixed")
    assert "\n" not in str(error.value)


def test_the_hash_depends_on_rows_and_not_on_versions(folder, tmp_path):
    path, copy = folder / "Video" / "random", tmp_path / "random"
    copy.mkdir()
    rows, manifest = read_events(path), read_manifest(path)
    other = dataclasses.replace(manifest, versions={**manifest.versions, "polars": "0.0.1"})
    (copy / "manifest.json").write_text(other.as_json())
    write_shard(copy, 0, rows, other)
    assert content_hash(copy) == content_hash(path)
    write_shard(copy, 0, rows.with_columns(reward=rows["reward"] + 1.0), other)
    assert content_hash(copy) != content_hash(path)


def test_unknown_names_and_missing_logs_end_in_one_line(folder, committed, tmp_path):
    with pytest.raises(ValueError, match="Video/mixed"):
        load_log_set(folder, "Video/mixd")
    with pytest.raises(FileNotFoundError, match="not the folder of a simulated log"):
        load_log_set(tmp_path, "Video/mixed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenario", "Vido"], "scenario 'Vido'"),
        (["--scenario", "MovieLens"], "--scenario MovieLens: must be one of Video"),
        (["--install", "--steps", "10"], "--install: requires all scenarios"),
    ],
)
def test_a_request_that_cannot_be_fulfilled_ends_in_one_line(tmp_path, capsys, arguments, message):
    assert main(["log-sets", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_rows_are_those_of_the_log(folder, committed):
    assert load_log_set(folder, "Video/random").equals(read_events(folder / "Video" / "random"))
