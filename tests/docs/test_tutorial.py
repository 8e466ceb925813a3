"""The tutorial, block by block in one folder, with a smaller log and fewer steps and sessions."""

import re
import runpy
import shlex
from unittest.mock import patch

from conftest import CHECKOUT
from test_code_blocks import BLOCK

SMALLER = {
    "made_log.py --out log": "made_log.py --out log --users 150 --items 150",
    "tutorial_figures.py --out pictures": "tutorial_figures.py --out pictures --sessions 50",
    '"eb-linucb": 50_000, "reinforce": 150_000': '"eb-linucb": 1_000, "reinforce": 1_000',
    '"num_envs": 500': '"num_envs": 10',
    '"num_envs": 1_000': '"num_envs": 10',
    "--sessions 1000": "--sessions 5",
    "--num-envs 500 --steps 20000": "--num-envs 50 --steps 200",
    "--num-envs 500 --steps 50000": "--num-envs 50 --steps 1000",
}
"""What the page does, and what the test does in its place."""

WITH_DIFFERENCES = "recsim_env.logs check"
"""Of a small log, a statistic may be outside its tolerance: exit code 1."""


def run_command(command: str) -> None:
    _, *words = shlex.split(command)
    if words[0] == "-m":
        name, arguments = words[1], words[2:]
        run = runpy.run_module
    else:
        name, arguments = str(CHECKOUT / words[0]), words[1:]
        run = runpy.run_path
    code = 0
    with patch("sys.argv", [name, *arguments]):
        try:
            run(name, run_name="__main__")
        except SystemExit as end:
            code = end.code
    assert code == 0 or (code == 1 and WITH_DIFFERENCES in command), command


def test_the_tutorial_leads_from_a_log_to_an_answer(tmp_path, monkeypatch, capsys):
    page = (CHECKOUT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for full, small in SMALLER.items():
        assert full in page, full
        page = page.replace(full, small)
    monkeypatch.chdir(tmp_path)
    for _, language, code in BLOCK.findall(page):
        if language == "python":
            exec(compile(code, "block", "exec"), {"__name__": "__main__"})
        elif language == "bash":
            for command in code.splitlines():
                run_command(command)
    printed = capsys.readouterr().out
    assert "selection: " in printed
    assert "platform-ranking: " in printed
    assert re.search(r"the log's own +│ +mean", printed)
    pictures = {file.name for folder in ("pictures", "runs/retention") for file in (tmp_path / folder).glob("*.png")}
    assert pictures == {"both_truths.png", "off_policy.png", "retention.png"}
