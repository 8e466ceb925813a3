"""`verify-results`: the provenance of committed rows, and whether their runs give the same digits again."""

import dataclasses
import json
import subprocess

import pytest
from conftest import CHECKOUT
from small_suite import SUITE, row

import recsim_env
from benchmarks.__main__ import main
from benchmarks.analysis.commit_counts import commit_counts
from benchmarks.rows import write_rows
from benchmarks.running.committed_runs import repeatable_runs
from benchmarks.running.reproduction import differences, sampled, sampled_by_scenario
from benchmarks.running.suite_runs import suite_runs
from benchmarks.suites import SUITES

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def head() -> str:
    run = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ({"commit": COMMIT[:12]}, (1, 0, 0, 0)),
        ({"commit": COMMIT}, (1, 0, 0, 0)),
        ({"commit": COMMIT[:3]}, (0, 0, 0, 0)),
        ({"commit": "v1.0-3-gabcdef012345"}, (0, 0, 0, 0)),
        ({"commit": f"{COMMIT[:12]}-dirty"}, (0, 1, 0, 0)),
        ({"commit": "unknown"}, (0, 0, 1, 0)),
        ({}, (0, 0, 1, 0)),
        ({"commit": COMMIT[:12], "version": "0.1.0"}, (1, 0, 0, 1)),
    ],
)
def test_a_row_is_counted_by_its_commit_and_its_version(row, counts):
    found = commit_counts([row], COMMIT, recsim_env.__version__)
    assert (found.num_of_commit, found.num_dirty, found.num_without_commit, found.num_stale) == counts
    assert found.is_complete == (counts == (1, 0, 0, 0))


def test_all_digits_are_compared_except_times_and_machines():
    run = suite_runs(SUITE)[0]
    first = row(run, metrics={"churn": 0.5})
    assert differences([first], [{**first, "wall_s": 9.0, "machine": "other", "date": "other"}]) == []
    assert differences([first], [{**first, "returns": [1.0, 2.0001]}]) == ["returns"]
    new = {**first, "metrics": {"churn": 0.5, "new": 1.0}, "latent_reads": ["play"]}
    assert differences([first], [new]) == []
    assert differences([first], [new], allow_new=False) == ["latent_reads"]
    assert differences([first], [{**first, "metrics": {"churn": 0.25}}]) == ["metrics"]
    assert differences([first], [first, first]) == ["2 evaluations instead of 1"]


def test_a_sample_is_drawn_by_its_seed_and_is_never_empty():
    assert sampled(range(100), 0.02, 1) == sampled(range(100), 0.02, 1)
    assert sampled(range(100), 0.02, 1) != sampled(range(100), 0.02, 2)
    assert len(sampled(range(3), 0.0, 1)) == 1
    assert sampled([], 0.5, 1) == []


def test_a_sample_by_scenario_has_a_run_of_each():
    suite = dataclasses.replace(SUITE, scenarios=("Video", "News"), agents=("random",), num_seeds=5)
    runs = suite_runs(suite)
    for seed in range(5):
        sample = sampled_by_scenario(runs, 0.1, seed)
        assert sorted(run.task for run in sample) == ["News", "Video"]
    assert len(sampled_by_scenario(runs, 0.3, 1)) == 4
    assert len(sampled_by_scenario(runs, 1.0, 1)) == 10
    assert sampled_by_scenario([], 0.5, 1) == []


def test_long_and_stale_runs_are_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setitem(SUITES, SUITE.name, SUITE)
    runs = suite_runs(SUITE)
    kinds = ({"run_s": 1.0}, {"run_s": 99.0}, {"version": "0.1.0", "run": "f" * 16}, {"run": "0" * 16, "run_s": 1.0})
    write_rows(tmp_path / "results.jsonl", [row(run, **kind) for run, kind in zip(runs, kinds, strict=True)])
    repeatable, reasons = repeatable_runs([tmp_path / "results.jsonl"], max_seconds=30.0)
    assert [run.key for run, _ in repeatable] == [runs[0].key]
    assert sorted(reasons.values()) == [1, 1, 1]


def test_results_are_verified_only_if_digits_and_commits_agree(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SUITES, SUITE.name, SUITE)
    of_commit = {"commit": head()[:12]}
    right, wrong = ([{**last, **of_commit} for last in run.execute()] for run in suite_runs(SUITE)[:3:2])
    command = ["verify-results", "--results", str(tmp_path), "--commit", "HEAD", "--sample", "1", "--workers", "1"]
    for name in ("small", "experiment"):
        (tmp_path / name).mkdir()
    write_rows(tmp_path / "small" / "results.jsonl", right)
    write_rows(tmp_path / "experiment" / "rows.jsonl", [of_commit])
    assert main(command) == 0
    assert "1 of 1 repeated runs have the same digits" in " ".join(capsys.readouterr().out.split())
    write_rows(tmp_path / "small" / "results.jsonl", [*right, {**wrong[-1], "return_mean": 9.0, "commit": "unknown"}])
    assert main(command) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 3 rows (66.7%) are from the commit" in said
    assert "random in Video, seed 1: return_mean" in said
    assert "1 of 2 repeated runs have the same digits" in said


def test_nothing_is_verified_without_a_repeated_run(tmp_path, capsys):
    write_rows(tmp_path / "rows.jsonl", [{"commit": head()[:12]}])
    command = ["verify-results", "--results", str(tmp_path), "--commit", "HEAD"]
    assert main(command) == 1
    assert "no run was repeated" in " ".join(capsys.readouterr().out.split())
    assert main([*command, "--sample", "0"]) == 0
    assert "no run was repeated" not in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tag", "no-such-tag"], "--tag no-such-tag: no such tag"),
        (["--commit", "no-such-commit"], "--commit no-such-commit: no such commit"),
        (["--commit", "HEAD", "--results", "no-such-folder"], "no-such-folder: no files of rows"),
    ],
)
def test_a_request_that_cannot_be_checked_ends_in_one_line(capsys, arguments, message):
    assert main(["verify-results", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_damaged_file_of_rows_ends_in_one_line(tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"commit": "x"}) + "\n[]\n")
    assert main(["verify-results", "--commit", "HEAD", "--results", str(tmp_path)]) == 2
    assert "rows.jsonl:2: not a JSON object" in capsys.readouterr().err
