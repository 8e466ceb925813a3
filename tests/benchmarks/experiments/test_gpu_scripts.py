"""The GPU scripts at a size for a CPU: the curve through returns, its forecast, and whole runs."""

import json

import numpy as np
import pytest

from benchmarks.analysis.sigmoid_fit import fitted, forecast, sigmoid
from benchmarks.experiments import gpu_headline as headline
from benchmarks.experiments import scaling
from benchmarks.rows import ResultsError, read_rows


def truth(operations: np.ndarray) -> np.ndarray:
    return sigmoid(operations, low=30.0, high=130.0, middle=1e14, slope=0.6)


def row(agent: str, operations: float, value: float, is_final: bool = False) -> dict:
    named = {"agent": agent, "operations": operations, "return_mean": value, "is_final": is_final}
    return {**named, "env_steps": 1_000, "status": "ok"}


def test_the_sigmoid_is_half_way_at_its_middle_and_finds_its_own_points():
    assert truth(np.array([1e14]))[0] == pytest.approx(80.0)
    operations = np.geomspace(1e12, 1e16, 12)
    found = fitted(operations, truth(operations))
    assert sigmoid(operations, **found) == pytest.approx(truth(operations), abs=0.5)
    assert found["high"] == pytest.approx(130.0, abs=2.0)


def test_too_few_points_for_a_curve_are_refused():
    with pytest.raises(ResultsError, match="at least 5"):
        fitted(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0]))


def test_the_forecast_is_fitted_without_the_largest_model():
    rows = []
    for agent, factor in (("small", 1.0), ("middle", 10.0), ("large", 100.0)):
        for n, operations in enumerate(factor * np.geomspace(1e12, 1e13, 4)):
            value = float(truth(np.array([operations]))[0]) + (7.0 if agent == "large" else 0.0)
            rows.append(row(agent, operations, value, is_final=n == 3))
            rows[-1]["env_steps"] = 1_000 * (n + 1)
    for each in rows:  # operations a step tell how large a model is
        each["env_steps"] = round(each["operations"] / {"small": 1e9, "middle": 1e10, "large": 1e11}[each["agent"]])
    found = forecast(rows)
    assert found["held_out"] == "large"
    assert found["error"] == pytest.approx(-7.0, abs=1.5)


def test_operations_grow_with_the_preset():
    steps = [scaling.training_flops(preset) for preset in ("tiny", "1m", "10m")]
    assert steps[0] < steps[1] < steps[2]
    assert steps[2] == pytest.approx(7.0 * 2.0 * 10e6, rel=0.3)


def test_the_headline_script_measures_trains_and_writes_rows(tmp_path, monkeypatch):
    measured = headline.measured
    # The length of the training follows from the speed: a low one keeps it short, whatever else the machine does.
    monkeypatch.setattr(headline, "measured", lambda *settings: {**measured(*settings), "steps_per_s": 2.0})
    arguments = ["--out", str(tmp_path), "--device", "cpu", "--minutes", "2", "--measure", "tiny"]
    assert headline.main([*arguments, "--seconds", "0.5", "--train", "tiny", "--sessions", "32"]) == 0
    speed = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert [each["preset"] for each in speed] == ["tiny"]
    assert speed[0]["steps_per_s"] > 0.0
    rows = read_rows(tmp_path / "results.jsonl")
    assert rows[-1]["is_final"]
    assert rows[-1]["agent"] == "large-model-tiny"


def test_the_scaling_script_resumes(tmp_path):
    sizes = ["--preset", "micro", "--preset", "tiny", "--device", "cpu", "--steps", "7200", "--sessions", "24"]
    arguments = ["--out", str(tmp_path), *sizes, "--evaluations", "6", "--evaluation-sessions", "8"]
    assert scaling.main(arguments) == 0
    forecast_ = json.loads((tmp_path / "forecast.json").read_text())
    assert forecast_["held_out"] == "large-model-tiny"
    drawn = (tmp_path / "scaling.svg").read_text()
    assert "<svg" in drawn
    assert "$" not in drawn  # marks in TeX would be shown as they stand
    rows = (tmp_path / "results.jsonl").read_bytes()
    assert scaling.main(arguments) == 0
    assert (tmp_path / "results.jsonl").read_bytes() == rows


def test_a_missing_gpu_is_refused_in_one_line(tmp_path, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for script in (headline, scaling):
        assert script.main(["--out", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert "finds no GPU" in error
        assert error.count("\n") == 1
