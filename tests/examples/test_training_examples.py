"""The examples of the README beat a random agent."""

import os
import subprocess
import sys

import pytest
from conftest import CHECKOUT


@pytest.mark.parametrize(
    ("example", "agent", "margin"), [("train_sb3.py", "PPO", 25.0), ("vector_env.py", "best rated", 15.0)]
)
def test_an_example_agent_beats_random(example, agent, margin, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, str(CHECKOUT / "examples" / example)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert finished.returncode == 0, finished.stderr
    returns = {name: float(value) for name, _, value in (line.partition(": ") for line in finished.stdout.splitlines())}
    assert returns[agent] > returns["random"] + margin
