"""The file of metrics: it survives kills, and holds the records of the run up to its checkpoint."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.tracking.metrics_log import MetricsLog, read_metrics

METRIC_VALUES = st.one_of(st.none(), st.text(max_size=5), st.integers(-(2**53), 2**53), st.floats(allow_nan=False))


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(METRIC_VALUES, min_size=1, max_size=6),
    cut=st.floats(0.0, 1.0),
    garbage=st.binary(max_size=8).filter(lambda it: b"\n" not in it),
    checkpoint=st.integers(0, 7),
)
def test_a_log_cut_at_any_byte_ends_like_an_uninterrupted_one(values, cut, garbage, checkpoint):
    with TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole.jsonl", Path(folder) / "killed.jsonl"
        log = MetricsLog(whole)
        for step, value in enumerate(values, 1):
            log.log(step, {"x": value}, time=float(step))
        content = whole.read_bytes()
        killed.write_bytes(content[: round(cut * len(content))] + garbage)
        resumed = MetricsLog(killed, last_step=checkpoint, log=pytest.fail)
        first = 1 + max((record.step for record in resumed.records), default=0)
        assert first <= checkpoint + 1
        for step, value in list(enumerate(values, 1))[first - 1 :]:
            resumed.log(step, {"x": value}, time=float(step))
        assert killed.read_bytes() == content


def test_damaged_lines_are_removed_and_counted(tmp_path):
    path, said = tmp_path / "metrics.jsonl", []
    written = b"".join(json.dumps({"num_steps": step, "x": step / 3.0}).encode() + b"\n" for step in (10, 20, 30))
    path.write_bytes(b'7\n{"a": 1}\n\xff\xfe\n' + written + b'{"num_steps": 40, "x"')
    MetricsLog(path, 20, said.append).log(31, {"x": None}, 5.0)
    assert [(line["num_steps"], line["x"]) for line in read_metrics(path)] == [(10, 10 / 3), (20, 20 / 3), (31, None)]
    assert said == [f"{path}: 3 damaged lines are removed"]


def test_values_are_written_as_strict_json_with_the_same_floats(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.log(1, {"x": np.float32(0.1), "n": np.int64(3), "stage": "ppo", "nan": np.nan, "inf": float("inf")}, 2.5)
    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)
    assert line == {
        "num_steps": 1,
        "time": 2.5,
        "x": float(np.float32(0.1)),
        "n": 3,
        "stage": "ppo",
        "nan": None,
        "inf": None,
    }


def test_steps_must_increase(tmp_path):
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path).log(1_000, {"x": 1.0})
    with pytest.raises(ValueError, match="the last step is 1,000; the next one must be greater, not 1,000"):
        MetricsLog(path).log(1_000, {"x": 1.0})


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"x": [1.0]}, "metric 'x': must be a number, text or None, not list"),
        ({"time": 1.0}, "metric 'time': the name is reserved"),
    ],
)
def test_a_metric_that_cannot_be_recorded_is_named(tmp_path, metrics, message):
    with pytest.raises((TypeError, ValueError), match=message):
        MetricsLog(tmp_path / "metrics.jsonl").log(1, metrics)
    assert read_metrics(tmp_path / "metrics.jsonl") == []
