"""The commands that read a ratings log: `describe`, `fit`, `check` and `statistics`."""

import subprocess
import sys
from pathlib import Path

import pytest
from drawn_ratings import write_drawn_ratings
from text_logs import GOOD_ROWS, HEADER, write

from recsim_env.logs import FittedWorld, fit_log
from recsim_env.logs.__main__ import main


@pytest.fixture(scope="module")
def made_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn_ratings(tmp_path_factory.mktemp("made") / "made.csv")


def test_all_problems_are_described_at_once_with_their_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "ann,x,5,10\nann,y\nbob,x,great,20\n,x,4,later\nbob,y,1,2\n"
    assert main(["describe", str(write(tmp_path / "log.csv", HEADER + rows))]) == 1
    out = capsys.readouterr().out
    for problem in ("line 3: has 2 fields", "line 4: rating='great'", "line 5: time='later'", "line 5: user=''"):
        assert f"problem: {problem}" in out


def test_a_good_log_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(write(tmp_path / "log.csv", HEADER + GOOD_ROWS))]) == 0
    out = capsys.readouterr().out
    for text in (
        "text separated by ',', UTF-8, with a header",
        "user: user, item: item",
        "1 to 5",
        "ann   x     5       10",
    ):
        assert text in out
    assert "warning: items have no distinguishing features" in out


def test_the_commands_fit_describe_and_check_a_log(
    tmp_path: Path, made_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, statistics = tmp_path / "world.npz", tmp_path / "statistics.json"
    assert main(["fit", str(made_csv), "--out", str(world), "--num-factors", "3", "--seed", "1"]) == 0
    assert "factorisation" in capsys.readouterr().out
    assert main(["statistics", str(world), "--out", str(statistics)]) == 0
    assert "interaction sd" in capsys.readouterr().out
    assert main(["check", str(made_csv), str(world)]) == 0
    assert "NOT OK" not in capsys.readouterr().out
    assert statistics.stat().st_size > 0

    fitted = vars(FittedWorld.load(world))
    FittedWorld(**{**fitted, "quality": fitted["quality"] * 3}).save(world)
    assert main(["check", str(made_csv), str(world)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("item bias, sd")).endswith("NOT OK")


def test_remarks_on_ratings_under_random_exposure_name_their_file(
    tmp_path: Path, made_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, sample = tmp_path / "world.npz", tmp_path / "random.csv"
    header, *rows = made_csv.read_text().splitlines()
    low = [row.rsplit(",", 2) for row in rows[::7]]
    sample.write_text("\n".join([header, *(f"{pair},{1 + n % 3},{time}" for n, (pair, _, time) in enumerate(low))]))
    assert main(["fit", str(made_csv), "--out", str(world), "--num-factors", "2"]) == 0
    capsys.readouterr()
    main(["check", str(made_csv), str(world), "--random-exposure", str(sample)])
    remarks = [line for line in capsys.readouterr().err.splitlines() if str(sample) in line]
    assert [remark.partition(";")[0] for remark in remarks] == [f"warning: {sample}: no rating is above 3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "absent", "--out", "w.npz"], "https://grouplens.org/datasets/movielens/100k"),
        (["fit", "bad.csv", "--out", "w.npz"], "bad.csv:2: rating='9'"),
        (["fit", "good.csv", "--out", "good.csv"], "--out=good.csv: its name must end in .npz"),
        (["fit", "good.csv", "--out", "w.npz", "--num-factors", "0"], "error: --num-factors=0: must be"),
        (["check", "good.csv", "absent.npz", "--seed", "-1"], "error: --seed=-1: must be"),
        (["describe", "good.csv", "--feedback", "stars"], "error: --feedback='stars'"),
        (["fit", "good.csv", "--out", "w.npz", "--items", "absent.csv"], "absent.csv: no such file"),
        (["fit", "good.csv", "--out", "w.npz", "--sessions", "absent.csv"], "absent.csv: no such file"),
        (["describe", "/dev/null"], "/dev/null: must be a file or a folder, not a device or a pipe"),
        (["statistics", "good.csv", "--out", "s.json"], "good.csv: not a fitted world"),
        (["check", "good.csv", "absent.npz"], "absent.npz: no such file"),
        (["check", "good.csv", "good.csv"], "good.csv: not a fitted world"),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_exit_code_two(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "good.csv", HEADER + GOOD_ROWS)
    write(tmp_path / "bad.csv", HEADER + "ann,x,9,1\n")
    before = sorted(tmp_path.iterdir())
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "error: " in error
    lines = [line for line in error.splitlines() if not line.startswith(("note: ", "warning: "))]
    assert len(lines) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("absent/w.npz", "absent/w.npz: cannot be written (No such file or directory)"),
        ("good.csv/w.npz", "good.csv/w.npz: cannot be written (Not a directory)"),
        ("folder.npz", "folder.npz: cannot be written (Is a directory)"),
        (f"{250 * 'w'}.npz", "w.npz: cannot be written (File name too long)"),
        (f"{300 * 'w'}.npz", "w.npz: cannot be written (File name too long)"),
        ("w\0.npz", "cannot be written (embedded null byte)"),
        ("", "its name must end in .npz"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_log_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "good.csv", HEADER + GOOD_ROWS)
    (tmp_path / "folder.npz").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(["fit", "good.csv", "--out", out]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.endswith(f"{message}\n")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_log_of_shown_items_is_read_before_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recsim_env.logs.commands.fit.fit_ratings", lambda *_, **__: pytest.fail("fitted"))
    log = write(tmp_path / "log.csv", HEADER + GOOD_ROWS)
    shown = write(tmp_path / "shown.csv", "user,item,click,session\ncid,x,1,1\n")
    assert main(["fit", str(log), "--out", str(tmp_path / "w.npz"), "--sessions", str(shown)]) == 2
    assert "shown.csv: no row has a user and an item of" in capsys.readouterr().err


def test_a_misspelt_command_is_refused_with_the_near_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fitt", "log.csv"])
    assert "command 'fitt': unknown; did you mean 'fit'?" in capsys.readouterr().err


def test_a_log_of_other_users_is_refused_by_check(
    tmp_path: Path, made_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit_log(made_csv, num_factors=3).save(tmp_path / "world.npz")
    other = write(tmp_path / "other.csv", HEADER + GOOD_ROWS)
    assert main(["check", str(other), str(tmp_path / "world.npz")]) == 2
    assert "user 'ann'" in capsys.readouterr().err


def test_the_module_runs_as_a_program_and_explains_itself() -> None:
    command = [sys.executable, "-m", "recsim_env.logs", "--help"]
    help_text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for word in ("fit", "statistics", "check", "grouplens.org"):
        assert word in help_text
