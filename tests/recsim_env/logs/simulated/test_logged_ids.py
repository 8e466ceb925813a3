"""Simulated logs of a fitted world speak the ids of its ratings log."""

import gymnasium
import numpy as np
import polars as pl
import pytest

from recsim_env import LogWriter, read_events, read_items, read_users
from recsim_env.logs import FittedWorld, fit_log


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Fitted to 40 users and 120 items, of which every other one has a title."""
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("log")
    pairs = np.argwhere(generator.random((40, 120)) < 0.4)
    ratings = [f"u{user},m{item},{generator.integers(1, 6)}" for user, item in pairs]
    items = [
        f"m{item},{'' if item % 2 else f'Title {item}'},{'Drama' if item % 3 else 'Comedy'}" for item in range(120)
    ]
    (folder / "ratings.csv").write_text("\n".join(["user,item,rating", *ratings]))
    (folder / "items.csv").write_text("\n".join(["item,title,genres", *items]))
    fit_log(folder / "ratings.csv", items_path=folder / "items.csv", num_factors=2).save(folder / "world.npz")
    return folder / "world.npz"


def write(folder, env_id="recsim_env/MovieLens-v0", **arguments):
    env = gymnasium.make_vec(env_id, 4, vectorization_mode="vector_entry_point", **arguments)
    LogWriter(env, "random", folder, num_steps=80, rows_per_shard=40).write()
    return env


def test_events_are_joined_with_the_ids_and_titles_of_the_ratings_log(world, tmp_path):
    env = write(tmp_path, world=str(world), split="test")
    fitted, items, users = FittedWorld.load(world), read_items(tmp_path), read_users(tmp_path)
    own = env.unwrapped.simulator.world
    assert items["item"].to_list() == list(range(len(own.items)))
    assert users["user"].to_list() == list(range(len(own.users)))
    position = {each: number for number, each in enumerate(fitted.item_ids.tolist())}
    chosen = [position[each] for each in items["id"]]
    np.testing.assert_array_equal(own.items.quality, fitted.quality[chosen])
    assert items["title"].to_list() == fitted.titles[chosen].tolist()
    assert [title for title in items["title"] if title.startswith("m")]  # no title: the id
    raters = [fitted.user_ids.tolist().index(each) for each in users["id"]]
    np.testing.assert_array_equal(own.users.rating_bias, fitted.rating_bias[raters])
    shown = read_events(tmp_path).select("user", pl.col("item").arr.first())
    assert len(shown.join(items, on="item").join(users, on="user")) == len(shown)


def test_a_killed_writer_adds_the_ids_when_it_goes_on(world, tmp_path):
    write(tmp_path / "whole", world=str(world))
    write(tmp_path / "killed", world=str(world))
    for name in ("items.parquet", "users.parquet", "events-00001.parquet"):
        (tmp_path / "killed" / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"items\.parquet: is missing"):
        read_items(tmp_path / "killed")
    write(tmp_path / "killed", world=str(world))
    for file in (tmp_path / "whole").glob("*.parquet"):
        assert file.read_bytes() == (tmp_path / "killed" / file.name).read_bytes()


def test_a_log_without_ids_and_a_damaged_file_are_refused_in_one_line(world, tmp_path):
    write(tmp_path / "video", "recsim_env/Video-v0")
    assert not (tmp_path / "video" / "items.parquet").exists()
    with pytest.raises(FileNotFoundError, match="do not come from a ratings log"):
        read_items(tmp_path / "video")
    write(tmp_path / "fitted", world=str(world))
    (tmp_path / "fitted" / "users.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    with pytest.raises(ValueError, match=r"users\.parquet: damaged$"):
        read_users(tmp_path / "fitted")
