"""Fingerprints of source code follow what rows depend on, and nothing else, and never stop a run."""

import ast
import importlib
import sys
from pathlib import Path

import pytest
from agents_of_ones_own import __file__ as own_file
from made_rows import made_rows

from agents.registry import REGISTRY
from benchmarks.__main__ import main
from benchmarks.report.report import write_report
from benchmarks.running import source_code
from benchmarks.running.rows import read_rows
from benchmarks.running.source_code import WORLD, of_other_code, source_fingerprint

ROWS = made_rows(("random", "popularity", "planning-oracle"), ("Video",), 2, num_sessions=4)

AGENT = '''"""An agent of one's own."""
from math import sin as f
from .scoring import score
import beside

class Own:
    def recommend(self, observation):
        from mine.late import last
        return f(score(observation)) + last + beside.x
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "mine").mkdir()
    for name, content in {
        "mine/__init__": "",
        "mine/agent": AGENT,
        "mine/scoring": "def score(x):\n    return 2 * x\n",
        "mine/late": "last = 1\n",
        "mine/unused": "unused = 1\n",
        "beside": "x = 1\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path


def fingerprint(module: str = "mine.agent") -> str:
    for cached in (source_fingerprint, source_code._counts, source_code._file, source_code._imports):
        cached.cache_clear()
    source_code._statements.cache_clear()
    source_code._tree.cache_clear()
    return source_fingerprint(module, *WORLD)


@pytest.mark.parametrize("name", ["mine/agent", "mine/scoring", "mine/late", "mine/__init__", "beside"])
def test_a_change_of_what_an_agent_imports_changes_its_fingerprint(folder: Path, name: str):
    before = fingerprint()
    path = folder / f"{name}.py"
    path.write_text(path.read_text() + "more = 1\n")
    assert fingerprint() != before


def test_another_function_under_the_same_name_changes_it(folder: Path):
    before = fingerprint()
    (folder / "mine" / "agent.py").write_text(AGENT.replace("sin as f", "cos as f"))
    assert fingerprint() != before


def test_comments_docstrings_line_breaks_and_names_handed_on_do_not(folder: Path):
    before = fingerprint()
    before_it = '"""Others."""\n\n__all__ = ["score"]\n\n\n# why\n'
    words = before_it + 'def score(x):\n    """Twice."""\n    return (\n        2 * x\n    )\n'
    (folder / "mine" / "scoring.py").write_text(words)
    assert fingerprint() == before


def test_a_module_that_the_agent_does_not_import_does_not(folder: Path):
    before = fingerprint()
    (folder / "mine" / "unused.py").write_text("unused = 2\n")
    assert fingerprint() == before


@pytest.mark.parametrize(
    "content",
    [
        "last = = 1\n",
        "last = 1 \0\n",
        "from .......beyond import last\n",
        "last = " + " + ".join(["'a'"] * 3_000) + "\n",
        "last = x" + ".f()" * 3_000 + "\n",
    ],
    ids=["no Python", "a zero", "beyond the top", "a long sum", "a long chain"],
)
def test_a_module_that_cannot_be_read_as_python_does_not_stop_it(folder: Path, content: str):
    (folder / "mine" / "late.py").write_text(content)
    odd = fingerprint()
    (folder / "mine" / "scoring.py").write_text("def score(x):\n    return 3 * x\n")
    assert fingerprint() != odd


def test_a_module_of_one_file_that_first_tries_a_relative_import_has_a_fingerprint(folder: Path):
    path = folder / "single.py"
    path.write_text("try:\n    from .beside import x\nexcept ImportError:\n    from beside import x\n")
    before = fingerprint("single")
    (folder / "beside.py").write_text("x = 2\n")
    assert fingerprint("single") != before


def test_a_module_without_a_file_has_one_too(monkeypatch):
    made = type(ast)("made")
    monkeypatch.setitem(sys.modules, "made", made)
    assert fingerprint("made") == fingerprint("no.such.module")


@pytest.mark.parametrize(
    "name", ["recsim_env/user_model.py", "agents/evaluation.py", "benchmarks/metrics.py", "benchmarks/cell.py"]
)
def test_the_world_and_the_evaluation_are_part_of_every_agents(name: str, monkeypatch):
    before = fingerprint("agents.bandits.linucb")
    statements = source_code._statements
    changed = {path for path in [source_code._file(name.removesuffix(".py").replace("/", "."))] if path}
    assert changed
    monkeypatch.setattr(source_code, "_statements", lambda path: statements(path) + b"1" * (path in changed))
    source_fingerprint.cache_clear()
    assert source_fingerprint("agents.bandits.linucb", *WORLD) != before
    monkeypatch.undo()
    source_fingerprint.cache_clear()


def test_agents_of_ours_have_fingerprints_of_their_own(monkeypatch):
    modules = {entry.module for entry in REGISTRY.values()}
    assert len({source_code._statements(path) for name in modules if (path := source_code._file(name))}) == len(modules)
    assert len({source_fingerprint(module, *WORLD) for module in modules}) == len(modules)


def test_libraries_and_the_other_modules_of_the_benchmark_do_not_count():
    reached = source_code._reached(("agents.reinforcement.sb3", *WORLD))
    assert {name.partition(".")[0] for name in reached} == {"agents", "benchmarks", "recsim_env"}
    assert {name for name in reached if name.startswith("benchmarks")} == {
        "benchmarks.running.run",
        "benchmarks.analysis.metrics",
    }


def test_rows_of_other_code_are_told_from_those_of_the_present():
    present = source_fingerprint("agents.bandits.linucb", *WORLD)
    rows = [{"agent": "linucb", "code": present}, {"agent": "linucb", "code": "0"}, {"agent": "linucb"}]
    assert of_other_code([*rows, {"agent": "nobody:Here", "code": "0"}, {"agent": "linucb#1"}]) == rows[1:]


def test_differences_of_source_code_between_rows_are_told(tmp_path: Path):
    def told(rows: list[dict]) -> list[str]:
        write_report(tmp_path, rows)
        return [line for line in (tmp_path / "report.md").read_text().splitlines() if "code" in line.lower()]

    alike = [{**row, "code": row["agent"], "world_code": "a"} for row in ROWS]
    before = told(alike)
    assert before == told(ROWS)
    one = [{**row, "code": "b"} if row["agent"] == "random" and row["seed"] == 1 else row for row in alike]
    assert told(one) == [*before, "* Source code differs between the rows of random."]
    world = [{**row, "world_code": "b"} if row["agent"] == "random" else row for row in alike]
    words = "* Code of the world and of the evaluation is not the same in all rows: there are 2."
    assert told(world) == [*before, words]


def test_a_run_does_again_what_other_code_has_finished_unless_any_code_will_do(folder: Path, capsys):
    path = folder / "changing.py"
    path.write_text(Path(own_file).read_text())
    name = next(node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef))
    command = ["run", "--suite", "smoke", "--only", "random", "--agent", f"changing:{name}", "--seeds", "1"]
    command += ["--scenario", "Video", "--workers", "1", "--out", str(folder / "out")]

    def rows() -> list[dict]:
        fingerprint()  # as in another process
        assert main(command) == 0
        return [row for row in read_rows(folder / "out" / "results.jsonl") if row["agent"] != "random"]

    first = rows()
    assert {row["code"] for row in first} == {fingerprint("changing")}
    path.write_text(path.read_text() + "\nmore = 1\n")
    command.append("--any-code")
    assert rows() == first
    assert "made by other or unknown source code than is here now: changing:" in capsys.readouterr().out
    command.remove("--any-code")
    second = rows()
    assert "of other or unknown source code are kept apart" in capsys.readouterr().out
    assert {row["code"] for row in second} == {fingerprint("changing")} != {row["code"] for row in first}
