"""Provenance of results: the commit, and whether the source differs from it."""

import subprocess
from pathlib import Path

from agents import provenance as provenance_module
from agents.provenance import provenance


def test_a_changed_source_makes_a_commit_dirty_and_a_changed_result_does_not(tmp_path: Path, monkeypatch):
    source, result = (
        tmp_path / "benchmarks" / "module.py",
        tmp_path / "benchmarks" / "results" / "quick" / "results.jsonl",
    )
    result.parent.mkdir(parents=True)
    for path in (source, result):
        path.write_text("1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance_module, "__file__", str(source))
    commit = provenance([], "agents")["commit"]
    assert len(commit) == 12
    result.write_text("2\n")
    assert provenance([], "agents")["commit"] == commit
    source.write_text("2\n")
    assert provenance([], "agents")["commit"] == f"{commit}-dirty"
