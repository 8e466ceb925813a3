"""Users are removed from a log without a trace, and the sessions of all others are replayed as before."""

import gymnasium
import numpy as np
import polars as pl
import pytest
from drawn_ratings import write_drawn_ratings
from written_logs import contents, make_env, write

from recsim_env import LogWriter, read_events, read_manifest, read_users, replay
from recsim_env.logs import fit_log
from recsim_env.logs.simulated import user_removal
from recsim_env.logs.simulated.log_folder import write_shard
from recsim_env.logs.simulated.logged_ids import users_with_ids
from recsim_env.logs.simulated.user_removal import remove_users


def steps_by_session(path):
    """By session and step: the action, the reward, the observed user and the start of the session."""
    found = {}
    for step in replay(path, observation="full"):
        for lane in np.flatnonzero(step.is_logged).tolist():
            user = step.observations["user"][lane].tolist()
            key = int(step.events["session"][lane]), int(step.events["step"][lane])
            found[key] = step.actions[lane].tolist(), float(step.rewards[lane]), user, bool(step.episode_start[lane])
    return found


def frequent_users(path, count):
    return read_events(path)["user"].value_counts(sort=True)["user"][:count].to_list()


def test_the_rows_of_removed_users_are_gone_and_all_others_are_replayed_as_before(tmp_path):
    env = make_env(num_envs=3, session_length=5, overrides={"population": {"num_users": 20}})
    path = write(tmp_path, env, num_steps=300, rows_per_shard=40)
    before, whole = read_events(path), steps_by_session(path)
    removed = frequent_users(path, 6)  # several sessions of one lane in a row
    kept = before.filter(~pl.col("user").is_in(removed))
    assert remove_users(path, removed) == len(before) - len(kept) > 100
    assert read_events(path).equals(kept)
    keys = set(kept.select("session", "step").iter_rows())
    found = steps_by_session(path)
    assert found.keys() == keys
    assert found == {key: whole[key] for key in keys}


def test_a_log_from_which_all_users_were_removed_has_no_rows(tmp_path):
    path = write(tmp_path, make_env(num_envs=2), num_steps=20)
    remove_users(path, read_events(path)["user"].to_list())
    assert len(read_events(path)) == 0
    assert list(replay(path)) == []


def test_a_removal_that_was_killed_half_way_is_finished_by_the_same_call(tmp_path, monkeypatch):
    path = write(tmp_path, num_steps=400, rows_per_shard=80)
    removed = frequent_users(path, 3)

    def fails_half_way(folder, number, frame, manifest):
        if number == 2:
            raise KeyboardInterrupt
        write_shard(folder, number, frame, manifest)

    with monkeypatch.context() as patch:
        patch.setattr(user_removal, "write_shard", fails_half_way)
        with pytest.raises(KeyboardInterrupt):
            remove_users(path, removed)
    assert steps_by_session(path)  # a valid log
    remove_users(path, removed)
    assert not set(read_events(path)["user"]) & set(removed)
    assert remove_users(path, removed) == 0


def write_from_ratings(folder):
    """A log of users who have ids, in the subfolder `log`."""
    fit_log(write_drawn_ratings(folder / "ratings.csv"), num_factors=2).save(folder / "world.npz")
    env = gymnasium.make_vec("recsim_env/MovieLens-v0", 8, world=str(folder / "world.npz"))
    writer = LogWriter(env, "random", folder / "log", num_steps=160)
    writer.write()
    return writer


@pytest.mark.filterwarnings("ignore:.*no distinguishing features")
def test_no_file_of_a_log_contains_the_id_of_a_removed_user(tmp_path):
    writer = write_from_ratings(tmp_path)
    user = frequent_users(tmp_path / "log", 1)[0]
    (name,) = read_users(tmp_path / "log").filter(pl.col("user") == user)["id"]
    assert users_with_ids(tmp_path / "log", [str(name)]) == [user]
    remove_users(tmp_path / "log", [user])
    assert name not in read_users(tmp_path / "log")["id"]
    assert user not in read_events(tmp_path / "log")["user"]
    assert not [file for file, content in contents(tmp_path / "log").items() if f'"{name}"'.encode() in content]
    writer.write()  # does not bring the user back
    assert name not in read_users(tmp_path / "log")["id"]
    with pytest.raises(ValueError, match=rf"^user '{name}': is not among the users of .*log$"):
        users_with_ids(tmp_path / "log", [str(name)])


@pytest.mark.filterwarnings("ignore:.*no distinguishing features")
def test_ids_are_not_taken_for_indices_if_their_file_is_missing(tmp_path):
    write_from_ratings(tmp_path)
    (tmp_path / "log" / "users.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"users\.parquet: is missing; repeat the command of the log"):
        users_with_ids(tmp_path / "log", ["3"])


def test_users_without_ids_are_named_by_their_index(tmp_path):
    path = write(tmp_path)
    assert users_with_ids(path, ["17", "3"]) == [17, 3]
    for wrong in ("u17", "-1", "1.5", "9" * 30):
        with pytest.raises(ValueError, match=rf"^user '{wrong}': is not among the users of"):
            users_with_ids(path, [wrong])


def test_a_shard_with_too_few_rows_is_still_recognised_as_damaged(tmp_path):
    path = write(tmp_path)
    removed = frequent_users(path, 1)
    remove_users(path, removed)
    shard = pl.read_parquet(path / "events-00001.parquet")
    metadata = pl.read_parquet_metadata(path / "events-00001.parquet")
    shard[1:].write_parquet(path / "events-00001.parquet", metadata=metadata)
    with pytest.raises(ValueError, match=r"events-00001\.parquet: damaged$"):
        read_events(path)


def test_users_of_a_live_platform_are_not_removed(tmp_path):
    path = write(tmp_path, make_env(live_platform=True))
    assert read_manifest(path).env_arguments["live_platform"] is True
    with pytest.raises(ValueError, match=r"live platform cannot be replayed without some of its users$"):
        remove_users(path, [0])
