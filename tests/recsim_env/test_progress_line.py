"""The line that says how far work has come."""

import pytest

from recsim_env import progress_line
from recsim_env.progress_line import ProgressLine


@pytest.fixture
def clock(monkeypatch):
    times = [0.0]
    monkeypatch.setattr(progress_line.time, "perf_counter", lambda: times[0])
    return times


def test_a_terminal_shows_the_time_left_and_the_line_is_erased(monkeypatch, capsys, clock):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with ProgressLine(1_000, "steps") as progress:
        clock[0] = 30.0
        progress.update(250)
    shown, erased = capsys.readouterr().err.split("\r\033[K")[1:]
    assert shown == "recsim_env: 250 of 1,000 steps, 90 s left"
    assert erased == ""


def test_the_time_left_counts_the_work_of_this_process_alone(monkeypatch, capsys, clock):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = ProgressLine(1_000, "steps", done=500)
    clock[0] = 10.0
    progress.update(600)
    assert "600 of 1,000 steps, 40 s left" in capsys.readouterr().err


def test_no_line_is_written_into_a_file(capsys, clock):
    with ProgressLine(10, "steps") as progress:
        clock[0] = 5.0
        progress.update(5)
    assert capsys.readouterr().err == ""
