"""The fidelity command: measures of simulated behaviour beside published ones."""

import numpy as np
import pytest

from recsim_env import SCENARIOS
from recsim_env.fidelity import TARGETS, _play, main, measure


def test_every_scenario_has_targets_with_a_source_that_its_preset_meets(scenario_name):
    measured = measure(scenario_name, num_sessions=1_000)
    assert set(TARGETS) == set(SCENARIOS)
    for name, target in TARGETS[scenario_name].items():
        assert target.low <= measured[name] <= target.high, (name, measured[name])
        assert len(target.source) > 10


def test_the_command_prints_measured_values_beside_targets(capsys):
    assert main(["Ratings", "--sessions", "200"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["measure", "measured", "target", "source"]
    assert row.startswith("rating_divergence")
    assert " ok " in row
    assert "MovieLens-100K" in row


def test_a_measure_outside_its_range_sets_the_exit_code(capsys, monkeypatch):
    target = TARGETS["Ratings"]["rating_divergence"]
    monkeypatch.setitem(TARGETS, "Ratings", {"rating_divergence": target._replace(high=1e-6)})
    assert main(["Ratings", "--sessions", "100"]) == 1
    assert " OFF " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Vido"], "scenario='Vido': unknown; did you mean 'Video'?"),
        (["VideoLifetime"], "scenario='VideoLifetime': must be one of "),
        (["Video", "--sessions", "0"], "--sessions=0: must be a whole number in [1, 1000000]"),
    ],
)
def test_invalid_input_is_refused_in_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1


def test_the_log_of_a_measurement_is_what_the_env_played():
    log = _play("Social", 50, 3, 5)
    assert log.items.shape == log.clicks.shape == log.ratings.shape
    is_shown = log.items >= 0
    assert not log.clicks[~is_shown].any()
    assert not log.ratings[~log.clicks].any()
    assert (log.lengths == is_shown.any(2).sum(0)).all()
    num_clicks = log.clicks.sum(2)
    assert num_clicks.max() >= 2
    assert np.isin(log.ratings, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).all()
