"""`python -m benchmarks validity` on a small made log: rows, resuming, the page, and errors in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_log import write_log

from benchmarks.__main__ import main
from benchmarks.experiments.validity import shuffled
from benchmarks.report.validity import EVALUATED_IN, report
from recsim_env.logs import FittedWorld

AGENTS = ("random", "popularity", "item-knn")
SMALL = ["--steps", "64", "--sessions", "30", "--session-length", "5", "--candidates", "4", "--seeds", "1"]


def arguments(log: Path, out: Path, agents=AGENTS) -> list[str]:
    named = [part for agent in agents for part in ("--agent", agent)]
    return ["validity", "--log", str(log), "--out", str(out), "--workers", "1", *SMALL, *named]


def rows_in(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "validity.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("validity")
    write_log(folder / "films")
    assert main(arguments(folder / "films", folder / "out")) == 0
    return folder


def test_each_agent_has_returns_in_every_world_for_each_person(finished):
    rows = rows_in(finished / "out")
    expected = [(agent, trained_in) for trained_in in EVALUATED_IN for agent in AGENTS]
    assert [(row["agent"], row["trained_in"]) for row in rows] == expected
    for row in rows:
        assert list(row["returns"]) == list(EVALUATED_IN[row["trained_in"]])
        assert len(row["returns"]["replay"]) == 8  # people of test
        assert {"command", "commit", "machine", "date", "version"} <= set(row)
        means = {world: np.nanmean(np.array(each, float)) for world, each in row["returns"].items()}
        assert all(5.0 < mean < 25.0 for world, mean in means.items() if "scenario" not in world)  # of 5 ratings
        assert means.get("scenario", 0.0) < means.get("tastes", 1.0)  # some items are not clicked


def test_rows_and_page_have_neither_titles_nor_ids_of_people(finished):
    text = (finished / "out" / "validity.jsonl").read_text() + (finished / "out" / "report.md").read_text()
    assert "Film" not in text
    assert "userId" not in text


def test_the_page_states_agreement_its_interval_and_its_limits(finished):
    page = (finished / "out" / "report.md").read_text()
    assert page == report(rows_in(finished / "out"))
    lines = [line for line in page.splitlines() if line.startswith(("| tastes", "| scenario"))]
    assert [line.count(" to ") for line in lines] == [2, 3, 3] * 2
    assert "What it cannot show" in page
    assert all(f"| {agent} | " in page for agent in AGENTS)


def test_a_killed_command_resumes_with_the_same_rows(finished, capsys):
    before, file = rows_in(finished / "out"), finished / "out" / "validity.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5]) + lines[5][:50])
    capsys.readouterr()
    assert main(arguments(finished / "films", finished / "out")) == 0
    assert "5 of 6 runs are finished already" in capsys.readouterr().out
    after = rows_in(finished / "out")
    assert after[:5] == before[:5]
    assert after[5]["returns"] == before[5]["returns"]


def test_the_control_keeps_quality_and_moves_item_factors(finished):
    fitted, control = (FittedWorld.load(finished / "out" / "worlds" / f"{name}.npz") for name in ("fitted", "shuffled"))
    assert np.array_equal(fitted.quality, control.quality)
    assert not np.array_equal(fitted.item_factors, control.item_factors)
    assert np.array_equal(np.sort(fitted.item_factors, 0), np.sort(control.item_factors, 0))
    assert np.array_equal(shuffled(fitted).item_factors, control.item_factors)


def test_the_fitted_world_knows_nobody_who_is_replayed(finished):
    assert len(FittedWorld.load(finished / "out" / "worlds" / "fitted.npz").user_ids) == 24  # 60% of 40


@pytest.mark.parametrize(
    ("agents", "message"),
    [
        (("random", "popularity"), "2 agents: a ranking needs at least 3"),
        ((*AGENTS, "linucp"), "did you mean 'linucb'"),
    ],
)
def test_agents_that_cannot_be_ranked_are_refused_in_one_line(finished, tmp_path, capsys, agents, message):
    assert main(arguments(finished / "films", tmp_path / "out", agents)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_log_that_is_too_small_leaves_nothing_half_written(tmp_path, capsys):
    log = write_log(tmp_path / "few", {person: {1: 3, 2: 4} for person in range(4)})
    assert main(arguments(log, tmp_path / "out")) == 2
    assert capsys.readouterr().err.strip().endswith("4 people; Replay needs at least 10")
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file() and file.name != ".lock"]


def test_agents_with_different_seeds_are_not_compared(finished):
    rows = rows_in(finished / "out")
    with pytest.raises(ValueError, match=r"agent 'popularity', seed 1, trained in 'tastes': no row; agents are paired"):
        report([*rows, {**rows[0], "seed": 1}])
