"""Provenance of results: the commit, and whether the source differs from it."""

import subprocess
from pathlib import Path

from agents import provenance as provenance_module
from agents.provenance import provenance


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True)


def test_a_changed_source_makes_a_commit_dirty_and_a_changed_result_does_not(tmp_path: Path, monkeypatch):
    source, result = (
        tmp_path / "benchmarks" / "module.py",
        tmp_path / "benchmarks" / "results" / "quick" / "results.jsonl",
    )
    result.parent.mkdir(parents=True)
    for path in (source, result):
        path.write_text("1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        git(tmp_path, *command)
    monkeypatch.setattr(provenance_module, "__file__", str(source))
    commit = provenance([], "agents")["commit"]
    assert len(commit) == 12
    git(tmp_path, "tag", "-a", "v1", "-m", "first")
    assert provenance([], "agents")["commit"] == commit, "the name of a tag does not identify a commit"
    result.write_text("2\n")
    assert provenance([], "agents")["commit"] == commit
    source.write_text("2\n")
    assert provenance([], "agents")["commit"] == f"{commit}-dirty"
