"""The experiment on privacy: rows for each epsilon and each number of shards, tables and the picture."""

import json

import pytest

from benchmarks.experiments import privacy

SMALL = ["--sessions", "40", "--models", "4", "--updates", "2", "--sharded-updates", "8", "--evaluation-sessions", "8"]


def test_a_row_for_each_epsilon_and_number_of_shards_and_the_same_command_adds_none(tmp_path, monkeypatch):
    monkeypatch.setattr(privacy, "EPSILONS", (3.0, float("inf")))
    monkeypatch.setattr(privacy, "SHARDS", (4,))
    for _ in range(2):
        assert privacy.main(["--out", str(tmp_path), *SMALL]) == 0
        rows = [json.loads(line) for line in (tmp_path / "privacy.jsonl").read_text().splitlines()]
    private, without_noise, deletion = rows
    assert [(row["kind"], row["level"]) for row in rows] == [("privacy", 3.0), ("privacy", None), ("deletion", 4)]
    assert private["noise_multiplier"] > 0.5 > without_noise["noise_multiplier"] == 0.0
    assert all(
        len(row["returns"]) == 4 and set(row["auc"]) == {"threshold", "LiRA"} for row in (private, without_noise)
    )
    one, percent = deletion["deletions"]
    assert (one["num_people"], one["num_shards"], one["step_share"]) == (1, 1, 0.25)
    assert percent["num_people"] == 2
    assert (tmp_path / "privacy.md").read_text() == privacy.tables(rows)
    assert (tmp_path / "privacy.png").is_file()


def test_an_odd_number_of_models_is_refused_in_one_line(tmp_path, capsys):
    assert privacy.main(["--out", str(tmp_path / "out"), "--models", "5"]) == 2
    error = capsys.readouterr().err
    assert error == "privacy: --models 5: must be an even number; each person is in half of the models\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--sessions", "--updates"])
def test_numbers_out_of_range_are_refused(option, tmp_path):
    with pytest.raises(SystemExit):
        privacy.main(["--out", str(tmp_path), option, "0"])
