"""The made log: the same bytes again, a known truth, and ratings that users chose to give."""

import runpy

import gymnasium
import numpy as np
import polars as pl
import pytest
from conftest import CHECKOUT

import recsim_env  # noqa: F401  (registers the ids)
from recsim_env import FittedWorld, fit_log, read_log
from recsim_env.logs.fitting.selection import expected_ratings, random_pairs


def make(folder, monkeypatch, *options: str):
    monkeypatch.setattr("sys.argv", ["made_log.py", "--out", str(folder), "--users", "200", "--items", "150", *options])
    runpy.run_path(str(CHECKOUT / "examples" / "made_log.py"), run_name="__main__")
    return folder


def test_the_same_seed_gives_the_same_log(tmp_path, monkeypatch):
    first, second = (make(tmp_path / name, monkeypatch) for name in ("first", "second"))
    other = make(tmp_path / "other", monkeypatch, "--seed", "1")
    for name in ("ratings.csv", "random.csv", "items.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
        assert (first / name).read_bytes() != (other / name).read_bytes()
    assert FittedWorld.load(first / "truth.npz").digest == FittedWorld.load(second / "truth.npz").digest


def test_the_truth_explains_both_kinds_of_ratings(tmp_path, monkeypatch):
    folder = make(tmp_path, monkeypatch)
    truth = FittedWorld.load(folder / "truth.npz")
    log, sample = read_log(folder / "ratings.csv"), random_pairs(truth, read_log(folder / "random.csv"))
    chosen = expected_ratings(truth, log.users, log.items, truth.selection)
    at_random = expected_ratings(truth, sample.users, sample.items)
    assert chosen.mean() == pytest.approx(log.ratings.mean(), abs=0.05)
    assert at_random.mean() == pytest.approx(sample.ratings.mean(), abs=0.15)
    assert log.ratings.mean() > sample.ratings.mean() + 0.5
    assert np.corrcoef(chosen, log.ratings)[0, 1] > 0.4  # of these users and items, and not of others


def test_the_true_and_the_fitted_world_have_the_same_held_out_items_and_users(tmp_path, monkeypatch):
    folder = make(tmp_path, monkeypatch)
    fit_log(folder / "ratings.csv", items_path=folder / "items.csv").save(folder / "world.npz")
    worlds = [
        gymnasium.make("recsim_env/MovieLens-v0", world=str(folder / name), split="test").unwrapped.simulator.world
        for name in ("truth.npz", "world.npz")
    ]
    assert worlds[0].items.ids == worlds[1].items.ids
    assert worlds[0].users.ids == worlds[1].users.ids
    described = pl.read_csv(folder / "items.csv")
    assert set(worlds[0].items.ids) < set(described["item"])
    assert described["year"].is_between(1900, 2030).all()


def test_impossible_sizes_are_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        make(tmp_path / "log", monkeypatch, "--items", "5000")
    assert "--items between 20 and 1,200" in capsys.readouterr().err
    assert not (tmp_path / "log").exists()
