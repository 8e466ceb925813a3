"""Worlds from a log are told apart by its content: a rewritten log is played, an env that exists keeps its world."""

import copy
import os
import pickle
from pathlib import Path

import gymnasium
import pytest

import recsim_env
from recsim_env.logs import fit_log

HEADER = "user,item,rating,timestamp\n"


def log_of(num_items: int) -> str:
    return HEADER + "".join(f"u{k % 12},i{k % num_items},{k % 5 + 1},{k}\n" for k in range(12 * num_items))


def make(world, **arguments):
    return gymnasium.make("recsim_env/MovieLens-v0", world=world, num_candidates=3, **arguments)


def num_items(env) -> int:
    return len(env.unwrapped.simulator.world.items)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def test_a_log_rewritten_under_its_name_is_played(tmp_path):
    log = tmp_path / "log.csv"
    for count in (5, 7):
        log.write_text(log_of(count))
        assert num_items(make(log)) == count


def test_a_log_rewritten_with_its_old_size_and_times_is_played(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(log_of(5))
    times, first = log.stat(), make(str(log)).unwrapped.simulator.world
    log.write_text(log_of(5).replace(",1,", ",5,"))
    os.utime(log, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert log.stat().st_size == times.st_size
    assert make(str(log)).unwrapped.simulator.world is not first


def test_a_world_fitted_again_under_its_name_is_played(tmp_path):
    log, world = tmp_path / "log.csv", tmp_path / "world.npz"
    for count in (5, 7):
        log.write_text(log_of(count))
        fit_log(log).save(world)
        assert num_items(make(str(world))) == count


@pytest.mark.parametrize("by_setting", [False, True], ids=["world", "RECSIM_DATA"])
def test_a_relative_path_is_that_of_the_current_folder(tmp_path, monkeypatch, by_setting):
    envs = []
    for name, count in (("one", 5), ("other", 7)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text(log_of(count))
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("RECSIM_DATA", "log.csv")
        envs.append(make(None if by_setting else "log.csv"))
    assert [num_items(env) for env in envs] == [5, 7]
    assert num_items(envs[0].unwrapped.remake(num_envs=2)) == 5  # a relative path means what it meant
    assert num_items(copy.deepcopy(envs[0])) == 5


def test_the_same_content_is_drawn_once(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(log_of(5))
    assert make(str(log)).unwrapped.simulator.world is make(Path(log)).unwrapped.simulator.world


def test_a_copy_of_an_env_keeps_the_world_whose_log_was_rewritten(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(log_of(5))
    env = make(str(log))
    env.reset(seed=0)
    log.write_text(log_of(7))
    assert copy.deepcopy(env).unwrapped.simulator.world is env.unwrapped.simulator.world


def test_a_pickled_env_is_refused_where_its_log_was_rewritten(tmp_path, monkeypatch):
    log = tmp_path / "log.csv"
    log.write_text(log_of(5))
    pickled = pickle.dumps(make(str(log)).unwrapped)
    log.write_text(log_of(7))
    recsim_env.world.world._draw_world.cache_clear()  # as in another process
    with pytest.raises(ValueError, match=r"^world='.*log\.csv': its content has changed; make a new env$"):
        pickle.loads(pickled)


def test_a_world_that_is_no_path_is_refused():
    with pytest.raises(ValueError, match=r"^world=3: must be the path of a fitted world"):
        make(3)
