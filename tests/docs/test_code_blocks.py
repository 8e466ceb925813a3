"""Every code block of the README and the documentation runs, or, if it would take long, is a command that exists."""

import re
import runpy
import shlex
import tomllib
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from unittest.mock import patch

import pytest
from conftest import CHECKOUT

PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(<!-- not executed: [^\n]+ -->\n)?```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

BLOCKS = [
    (language, code, f"{page.relative_to(CHECKOUT)}-{number}")
    for page in PAGES
    for number, (skipped, language, code) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
    if not skipped
]
EXAMPLES = "".join(example.read_text(encoding="utf-8") for example in (CHECKOUT / "examples").glob("*.py"))
"""Blocks that are examples are executed by `tests/examples`."""

TUTORIAL = "docs/tutorial.md"
"""Its blocks need each other's files: they are executed in order by `test_tutorial`."""

PROGRAMS = {  # each program once
    code: name for language, code, name in reversed(BLOCKS) if language == "python" and not name.startswith(TUTORIAL)
}
COMMANDS = sorted({line for language, code, _ in BLOCKS if language == "bash" for line in code.splitlines()})
RUN_IN_FULL = {"python -m benchmarks agents"}


def output_of(module: str, *arguments: str) -> str:
    """What `python -m module arguments` prints, run in this process, which has imported the libraries already."""
    output = StringIO()
    with patch("sys.argv", [module, *arguments]), redirect_stdout(output), pytest.raises(SystemExit) as end:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert end.value.code == 0
    return output.getvalue()


@pytest.mark.parametrize(
    "program", [pytest.param(code, id=name) for code, name in PROGRAMS.items() if code not in EXAMPLES]
)
def test_a_python_block_runs_as_it_stands(program, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert re.search("^(import|from) (recsim_env|agents)", program, re.MULTILINE)  # registers the ids
    exec(compile(program, "block", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_exists_with_its_options(command):
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    elif words[0] == "pip":
        extras = re.findall(r"\[(.*)\]", words[-1])
        known = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert all(extra in known for group in extras for extra in group.split(","))
    elif words[1].endswith(".py"):
        assert (CHECKOUT / words[1]).is_file()
    elif command in RUN_IN_FULL:
        assert output_of(*words[2:])
    else:
        module, *arguments = words[words.index("-m") + 1 :]
        has_subcommand = bool(arguments) and not arguments[0].startswith("-")
        text = help_of(module, arguments[0] if has_subcommand else "")
        for option in (word.split("=")[0] for word in arguments if word.startswith("--")):
            assert re.search(rf"{option}\b(?!-)", text), f"{option} is not an option of {module}"


@cache
def help_of(module: str, subcommand: str) -> str:
    return output_of(module, *([subcommand] if subcommand else []), "--help")


def test_the_readme_shows_code_within_60_lines_and_ends_within_150():
    lines = PAGES[0].read_text(encoding="utf-8").splitlines()
    assert lines.index("```python") < 60
    assert len(lines) <= 150
