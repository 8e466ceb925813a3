"""Variants of the pretrained model are compared by size, latency, agreement and score."""

import json
import shutil

import numpy as np
import pytest

from agents.large_model.config import PRETRAINED, located
from benchmarks.experiments import compression

PYTORCH, STATIC = "PyTorch fp32", "ONNX int8-static"


def variant(name: str, num_bytes: int, milliseconds: float) -> dict:
    row = {"variant": name, "num_bytes": num_bytes, "same_best": 0.975}
    for number in compression.NUM_CANDIDATES:
        row |= {f"p50_ms_{number}": milliseconds, f"p95_ms_{number}": 2 * milliseconds, f"time_ratio_{number}": 0.5}
    return row


def returns(agent: str, *means: float) -> list[dict]:
    return [{"scenario": "Video", "seed": seed, "agent": agent, "return_mean": x} for seed, x in enumerate(means)]


def test_a_score_is_the_share_of_the_gain_of_the_oracle_in_the_same_sessions():
    rows = [*returns("random", 1.0, 2.0), *returns("lookahead-oracle", 5.0, 4.0), *returns(STATIC, 3.0, 4.0)]
    np.testing.assert_allclose(compression._scores(rows, STATIC), [0.5, 1.0])


def test_sessions_in_which_the_oracle_gains_nothing_have_no_scores():
    rows = [*returns("random", 1.0, 2.0), *returns("lookahead-oracle", 5.0, 2.0), *returns(STATIC, 3.0, 4.0)]
    np.testing.assert_allclose(compression._scores(rows, STATIC), [0.5])


def test_the_table_has_a_row_for_each_variant():
    variants = [variant(PYTORCH, 2_500_000, 3.0), variant(STATIC, 1_200_000, 1.5)]
    scores = {PYTORCH: np.array([0.5, 0.7]), STATIC: np.array([0.4, 0.6])}
    lines = compression.table(variants, scores).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith(f"| {PYTORCH} | 2.50 MB | 3.00 ms, 6.00 ms; 0.50 |")
    assert lines[3].endswith("| 97.50% | 0.500 ± 1.271 | -0.100 ± 0.000 |")


def test_the_same_command_draws_the_same_scores_again(tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "VARIANTS", {PYTORCH: compression.VARIANTS[PYTORCH]})

    def variants(models: dict, *arguments: object) -> list[dict]:
        (model,) = models.values()
        model.folder.mkdir(exist_ok=True)
        shutil.copyfile(located(PRETRAINED), model.agent)
        return [variant(PYTORCH, 1_000_000, 3.0)]

    monkeypatch.setattr(compression, "_variants", variants)
    arguments = ["--scenario", "Video", "--seeds", "1", "--sessions", "4", "--out", str(tmp_path)]
    found = []
    for _ in range(2):
        assert compression.main(arguments) == 0
        found.append((tmp_path / "scores.jsonl").read_text())
    assert found[0] == found[1]
    rows = [json.loads(line) for line in found[0].splitlines()]
    assert [row["agent"] for row in rows] == ["random", "lookahead-oracle", PYTORCH]
    assert {"command", "commit", "version"} <= set(rows[0])
    assert (tmp_path / "compression.png").stat().st_size > 0
    assert (tmp_path / "compression.md").read_text().count("\n") == 3


@pytest.mark.parametrize("option", ["--seeds", "--rounds"])
def test_a_number_of_zero_is_refused(option, tmp_path, capsys):
    with pytest.raises(SystemExit):
        compression.main([option, "0", "--out", str(tmp_path)])
    assert "must be a whole number of at least 1" in capsys.readouterr().err
