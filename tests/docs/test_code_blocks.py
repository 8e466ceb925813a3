"""Every code block of the README and the documentation runs, or, if it would take long, is a command that exists."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache

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
PROGRAMS = [pytest.param(code, id=name) for language, code, name in BLOCKS if language == "python"]
COMMANDS = sorted({line for language, code, _ in BLOCKS if language == "bash" for line in code.splitlines()})
RUN_IN_FULL = {"python -m benchmarks agents"}


def run(command: list[str], folder) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_python_block_runs_as_it_stands(program, tmp_path):
    finished = run([sys.executable, "-c", program], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_exists_with_its_options(command, tmp_path):
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
        assert run([sys.executable, *words[1:]], tmp_path).returncode == 0
    else:
        module, *arguments = words[words.index("-m") + 1 :]
        has_subcommand = bool(arguments) and not arguments[0].startswith("-")
        text = help_of(module, arguments[0] if has_subcommand else "")
        for option in (word.split("=")[0] for word in arguments if word.startswith("--")):
            assert re.search(rf"{option}\b(?!-)", text), f"{option} is not an option of {module}"


@cache
def help_of(module: str, subcommand: str) -> str:
    finished = run([sys.executable, "-m", module, *([subcommand] if subcommand else []), "--help"], CHECKOUT)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_readme_shows_code_within_60_lines_and_ends_within_150():
    lines = PAGES[0].read_text(encoding="utf-8").splitlines()
    assert lines.index("```python") < 60
    assert len(lines) <= 150
