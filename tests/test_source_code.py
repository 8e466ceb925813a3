"""The fingerprint of source code: it follows what an agent's rows depend on, and nothing else."""

import importlib
from pathlib import Path

import pytest

from benchmarks import source_code
from benchmarks.roster import ROSTER
from benchmarks.source_code import of_other_code, source_fingerprint

AGENT = '''"""An agent of one's own."""
from .scoring import score

class Own:
    def recommend(self, observation):
        from mine.late import last
        return score(observation) + last
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in {
        "__init__": "",
        "agent": AGENT,
        "scoring": "def score(x):\n    return 2 * x\n",
        "late": "last = 1\n",
        "beside": "unused = 1\n",
    }.items():
        (folder / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return folder


def fingerprint() -> str:
    for cached in (source_fingerprint, source_code._file, source_code._statements):
        cached.cache_clear()
    return source_fingerprint("mine.agent")


@pytest.mark.parametrize("name", ["agent", "scoring", "late", "__init__"])
def test_a_change_of_what_an_agent_imports_changes_its_fingerprint(package: Path, name: str):
    before = fingerprint()
    path = package / f"{name}.py"
    path.write_text(path.read_text() + "more = 1\n")
    assert fingerprint() != before


def test_comments_docstrings_line_breaks_and_names_handed_on_do_not(package: Path):
    before = fingerprint()
    before_it = '"""Others."""\nimport math\n\n__all__ = ["score"]\n\n\n# why\n'
    words = before_it + 'def score(x):\n    """Twice."""\n    return (\n        2 * x\n    )\n'
    (package / "scoring.py").write_text(words)
    assert fingerprint() == before


def test_a_module_that_the_agent_does_not_import_does_not(package: Path):
    before = fingerprint()
    (package / "beside.py").write_text("unused = 2\n")
    assert fingerprint() == before


def test_a_module_that_is_no_python_does_not_stop_the_others(package: Path):
    (package / "late.py").write_text("last = = 1\n")
    broken = fingerprint()
    (package / "scoring.py").write_text("def score(x):\n    return 3 * x\n")
    assert fingerprint() != broken


def test_agents_of_ours_differ_by_their_own_modules_and_share_the_world(monkeypatch):
    modules = {entry.module for entry in ROSTER.values()}
    assert len({source_fingerprint(module) for module in modules}) == len(modules)
    before = source_fingerprint("agents.linucb")
    statements = source_code._statements

    def changed(path: Path) -> str:
        return statements(path) + ("more = 1" if path.name == "user_model.py" else "")

    monkeypatch.setattr(source_code, "_statements", changed)
    source_fingerprint.cache_clear()
    assert source_fingerprint("agents.linucb") != before
    monkeypatch.undo()
    source_fingerprint.cache_clear()
    assert source_fingerprint("agents.linucb") == before


def test_rows_of_other_code_are_told_from_those_of_the_present():
    present = source_fingerprint("agents.linucb")
    rows = [{"agent": "linucb", "code": present}, {"agent": "linucb", "code": "0"}, {"agent": "linucb"}]
    assert of_other_code([*rows, {"agent": "nobody:Here", "code": "0"}, {"agent": "linucb#1"}]) == rows[1:]
