"""The agents of the examples beat a random agent. The README shows `train_sb3.py`."""

import json
import runpy

import pytest
from conftest import CHECKOUT


@pytest.mark.parametrize(
    ("example", "random", "agent", "margin"),
    [("train_sb3.py", "RandomAgent", "PPO", 4.0), ("vector_env.py", "random", "most relevant", 5.0)],
)
def test_an_example_agent_beats_random(example, random, agent, margin, capsys):
    runpy.run_path(str(CHECKOUT / "examples" / example), run_name="__main__")
    lines = (line.partition(": ") for line in capsys.readouterr().out.splitlines() if ": " in line)
    returns = {name: float(value) for name, _, value in lines}
    assert returns[agent] > returns[random] + margin


@pytest.mark.parametrize("library", ["stable_baselines3_ppo", "sb3_contrib_maskable_ppo", "cleanrl_ppo"])
def test_an_example_of_a_library_trains_and_prints_held_out_returns(library, monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(CHECKOUT / "examples")
    curve = tmp_path / "curve.jsonl"
    monkeypatch.setattr("sys.argv", [library, "--steps", "1024", "--points", "2", "--curve", str(curve)])
    runpy.run_path(str(CHECKOUT / "examples" / f"{library}.py"), run_name="__main__")
    returns = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert list(returns)[:2] == ["random", "popularity"]
    assert float(returns["random"]) < float(returns["popularity"])
    points = [json.loads(line) for line in curve.read_text().splitlines()]
    assert [point["steps"] for point in points] == [512, 1024]
    assert {point["name"] for point in points} == set(returns) - {"random", "popularity"}


def test_learning_curves_of_several_libraries_are_drawn(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(CHECKOUT / "examples")
    rows = [
        {"name": name, "env": "recsim_env/VideoFlat-v0", "seed": seed, "steps": steps, "return": 40.0 + seed}
        for name in ("a", "b")
        for seed in (0, 1)
        for steps in (512, 1024)
    ]
    (tmp_path / "curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["plot_curves", str(tmp_path / "curves.jsonl"), str(tmp_path / "curves.png")]
    monkeypatch.setattr("sys.argv", arguments)
    runpy.run_path(str(CHECKOUT / "examples" / "plot_curves.py"), run_name="__main__")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
