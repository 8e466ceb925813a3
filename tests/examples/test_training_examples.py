"""The agents of the examples beat a random agent. The README shows `train_sb3.py`."""

import runpy

import pytest
from conftest import CHECKOUT


@pytest.mark.parametrize(
    ("example", "random", "agent", "margin"),
    [("train_sb3.py", "RandomAgent", "PPO", 25.0), ("vector_env.py", "random", "best rated", 15.0)],
)
def test_an_example_agent_beats_random(example, random, agent, margin, capsys):
    runpy.run_path(str(CHECKOUT / "examples" / example), run_name="__main__")
    lines = (line.partition(": ") for line in capsys.readouterr().out.splitlines() if ": " in line)
    returns = {name: float(value) for name, _, value in lines}
    assert returns[agent] > returns[random] + margin
