"""`retention`: lives in a world fitted to a log, resuming, and errors in one line."""

import json

import gymnasium
import numpy as np
import pytest

import agents
from benchmarks.__main__ import main
from benchmarks.commands.retention import assumptions_of
from recsim_env.logs import fit_log
from recsim_env.scenarios import scenario_named

SMALL = ["--sessions", "6"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world fitted to random ratings of 120 items in two genres by 60 users."""
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("log")
    pairs = np.argwhere(generator.random((60, 120)) < 0.3)
    ratings = [f"u{user},i{item},{generator.integers(1, 6)}" for user, item in pairs]
    items = [f"i{item},Title {item},{'Drama' if item % 2 else 'Comedy'}" for item in range(120)]
    (folder / "ratings.csv").write_text("\n".join(["user,item,rating", *ratings]))
    (folder / "items.csv").write_text("\n".join(["item,title,genres", *items]))
    fit_log(folder / "ratings.csv", items_path=folder / "items.csv", num_factors=2).save(folder / "world.npz")
    return str(folder / "world.npz")


def rows_in(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "retention.jsonl").read_text().splitlines()]


def test_agents_play_the_same_lives_under_each_assumption(world, tmp_path):
    agents_of = ["--agent", "random", "--agent", "popularity"]
    assert main(["retention", "--world", world, *agents_of, *SMALL, "--out", str(tmp_path)]) == 0
    rows = rows_in(tmp_path)
    assumptions = assumptions_of(scenario_named("MovieLensLifetime"))
    assert len(assumptions) == 11
    assert [(row["agent"], row["assumption"]) for row in rows] == [
        (agent, assumption) for agent in ("random", "popularity") for assumption in assumptions
    ]
    for row in rows:
        assert len(row["has_left"]) == len(row["num_visits"]) == len(row["active_days"]) == 6
        days, visits = np.array(row["active_days"]), np.array(row["num_visits"])
        assert (days >= 1).all()
        assert (days <= np.minimum(visits, 30)).all()
        assert {"command", "commit", "machine", "date", "version", "world"} <= set(row)
    text = (tmp_path / "retention.md").read_text()
    assert text.count("| popularity |") >= 11
    assert (tmp_path / "retention.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_plays_only_what_is_missing(world, tmp_path):
    command = ["retention", "--world", world, "--agent", "popularity", *SMALL, "--out", str(tmp_path)]
    assert main(command) == 0
    finished, file = rows_in(tmp_path), tmp_path / "retention.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:9]) + lines[9][:20])  # killed while it wrote a row
    assert main(command) == 0
    resumed = rows_in(tmp_path)
    assert resumed[:9] == finished[:9]
    assert [row["active_days"] for row in resumed] == [row["active_days"] for row in finished]


def test_a_trained_agent_is_loaded(world, tmp_path):
    options = {"world": world, "split": "train", "observation": "full", "vectorization_mode": "vector_entry_point"}
    env = gymnasium.make_vec("recsim_env/MovieLensLifetime-v0", 4, **options)
    agents.make("reinforce", env).learn(8).save(tmp_path / "mine")
    files = ["--load", str(tmp_path / "mine")]
    assert main(["retention", "--world", world, *files, *SMALL, "--out", str(tmp_path / "out")]) == 0
    assert {row["agent"] for row in rows_in(tmp_path / "out")} == {"mine"}


def test_higher_rates_of_return_give_more_active_days(world, tmp_path):
    arguments = ["--agent", "random", "--sessions", "40", "--out", str(tmp_path)]
    assert main(["retention", "--world", world, *arguments]) == 0
    days = {row["assumption"]: np.mean(row["active_days"]) for row in rows_in(tmp_path)}
    assert days["return_rate = 0.25"] < days["preset"] < days["return_rate = 1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no agent: give --agent NAME or --load FILE"),
        (["--agent", "pqn"], "agent 'pqn': is not trained; give --load FILE or --train-steps N"),
        (["--agent", "rndom"], "agent 'rndom': unknown; did you mean 'random'?"),
        (["--agent", "sac"], "agent 'sac': plays points in content space"),
        (["--agent", "random", "--env", "recsim_env/MovieLens-v0"], "its users do not come back"),
        (["--agent", "random", "--env", "CartPole-v1"], "must be an env of recsim_env"),
        (["--agent", "random", "--world", "nowhere.npz"], "nowhere.npz"),
        (["--load", "nowhere"], "--load nowhere: no such file"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, message, world, tmp_path, capsys):
    others = [] if "--world" in arguments or "CartPole-v1" in arguments else ["--world", world]
    assert main(["retention", *arguments, *others, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()
