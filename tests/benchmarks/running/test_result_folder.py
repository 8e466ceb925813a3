"""Results on the disk: rows are whole, foreign ones are kept apart, and a folder belongs to one suite and one run."""

import dataclasses
import json
import pickle
import subprocess
from pathlib import Path

import pytest
from benchmarks.running.resuming import APART, RESULTS, ResultFolder
from benchmarks.running.source_code import WORLD, source_fingerprint

from benchmarks.running import rows as results
from benchmarks.running import run as cell_module
from benchmarks.running.rows import ResultsError, append_rows, of_newest_version, provenance, read_rows, write_rows
from benchmarks.running.run import Cell
from benchmarks.running.suite_runner import cells
from benchmarks.suites import SUITES, Suite

SUITE = Suite(
    scenarios=("Video",), agents=("random", "linucb"), num_seeds=2, num_steps=10, num_evaluations=1, num_sessions=4
)


def row(of: Cell, is_final: bool = True, **others) -> dict:
    made = {**of.identity(), "env_steps": 0, "wall_s": 0.0, "status": "ok", "is_final": is_final}
    made |= {"return_mean": 1.5, "return_sem": 0.5, "returns": [1.0, 2.0], "settings": {}}
    return {**made, **provenance([]), **others}


@pytest.fixture
def every() -> list[Cell]:
    return cells("made", SUITE)


@pytest.fixture
def told() -> list[str]:
    return []


def open_folder(path: Path, told: list[str], suite: Suite = SUITE, name: str = "made") -> ResultFolder:
    return ResultFolder(path, name, suite, told.append)


def test_what_is_finished_is_found_again_and_the_rest_is_dropped(tmp_path: Path, every, told):
    with open_folder(tmp_path, told) as folder:
        assert folder.finished(every) == []
        folder.add([row(every[0], False), row(every[0])])
        folder.add([row(every[1], False)])  # its process was killed before the final row was written
    with open_folder(tmp_path, told) as folder:
        assert [found["cell"] for found in folder.finished(every)] == [every[0].digest] * 2
    assert len(read_rows(tmp_path / RESULTS)) == 2
    assert told == []


def test_rows_stand_in_the_order_of_the_cells_whatever_was_finished_first(tmp_path: Path, every, told):
    with open_folder(tmp_path, told) as folder:
        for cell in reversed(every):
            folder.add([row(cell)])
        assert [found["cell"] for found in folder.sort()] == [cell.digest for cell in every]


def test_rows_stand_in_the_order_of_the_whole_suite_when_part_of_it_is_asked_for_last(tmp_path: Path, told):
    quick = dataclasses.replace(SUITES["quick"], agents=("random", "popularity"), num_seeds=1)
    own = dataclasses.replace(quick, scenarios=("News",), agents=("mine:Own", "popularity"))
    video, news = ([cell for cell in cells("quick", quick) if cell.task == task] for task in quick.scenarios)
    mine = dataclasses.replace(news[0], agent="mine:Own")
    with open_folder(tmp_path, told, own, "quick") as folder:
        for cell in (mine, *reversed(news), *reversed(video)):
            folder.add([row(cell)])
        found = [(each["scenario"], each["agent"]) for each in folder.sort()]
    assert found == [(cell.task, cell.agent) for cell in (*video, *news, mine)]


def test_failed_cells_are_tried_again_when_asked_for(tmp_path: Path, every, told):
    with open_folder(tmp_path, told) as folder:
        folder.add([every[0].failed("ValueError: no") | provenance([])])
        folder.add([row(every[1])])
        assert len(folder.finished(every)) == 2
        assert [found["cell"] for found in folder.finished(every, is_retrying=True)] == [every[1].digest]


def test_rows_of_other_settings_are_kept_apart_and_it_is_said(tmp_path: Path, every, told):
    with open_folder(tmp_path, told) as folder:
        folder.add([row(every[0], cell="0123456789abcdef", version="0.0.1")])
        folder.add([row(every[1])])
        assert [found["cell"] for found in folder.finished(every)] == [every[1].digest]
    assert [found["version"] for found in read_rows(tmp_path / APART)] == ["0.0.1"]
    assert told == ["1 rows of another version or other settings are kept apart in kept_apart.jsonl"]


def test_cells_that_are_not_asked_for_this_time_stay(tmp_path: Path, every, told):
    with open_folder(tmp_path, told) as folder:
        folder.add([row(cell) for cell in every])
        fewer = [cell for cell in every if cell.agent == "linucb"]
        assert len(folder.finished(fewer)) == len(every)


def test_rows_of_other_settings_are_kept_apart_when_fewer_cells_are_asked_for(tmp_path: Path, every, told):
    fewer = [cell for cell in every if cell.agent == "random" and cell.seed == 0]
    beyond = dataclasses.replace(fewer[0], seed=7)
    unknown = [dataclasses.replace(fewer[0], agent="mine:Own"), dataclasses.replace(fewer[0], task="Video, changed")]
    with open_folder(tmp_path, told) as folder:
        folder.add([row(cell, cell="0123456789abcdef") for cell in (*every[1:], beyond, *unknown)])
        folder.add([row(beyond), row(fewer[0])])
        kept = folder.finished(fewer, whole=every)
    assert [found["agent"] for found in kept] == ["mine:Own", "random", "random", "random"]
    apart = [(found["agent"], found["seed"]) for found in read_rows(tmp_path / APART)]
    assert apart == [("linucb", 0), ("random", 1), ("linucb", 1), ("random", 7)]
    assert told == ["4 rows of another version or other settings are kept apart in kept_apart.jsonl"]


def test_what_other_source_code_has_finished_is_done_again_unless_any_code_will_do(tmp_path: Path, every, told):
    before, asked_for = "0123456789abcdef", every[:2]
    with open_folder(tmp_path, told) as folder:
        folder.add([row(every[0], code=before), row(every[1]), row(every[2], code=before)])
        assert len(folder.finished(asked_for, is_any_code=True)) == 3
        assert told == []
        kept = folder.finished(asked_for, whole=every)
    assert [found["cell"] for found in kept] == [every[1].digest, every[2].digest]  # the last was not asked for
    assert [found["code"] for found in read_rows(tmp_path / APART)] == [before]
    words = "1 rows of other or unknown source code are kept apart in kept_apart.jsonl"
    assert told == [f"{words}; --any-code lets such rows stand"]


def test_a_cell_of_which_only_the_last_row_is_of_other_code_is_done_again(tmp_path: Path, every, told):
    with open_folder(tmp_path, told) as folder:
        folder.add([row(every[0], code="0123456789abcdef"), row(every[0], False)])
        assert folder.finished(every[:1]) == []


def test_rows_say_which_code_was_there_when_the_run_began(tmp_path: Path, every, told, monkeypatch):
    with open_folder(tmp_path, told) as folder:
        folder.finished(every)
        present = [source_fingerprint(cell.entry.module, *WORLD) for cell in every]
        monkeypatch.setattr(cell_module, "source_fingerprint", lambda *modules: "changed meanwhile")
        sent = pickle.loads(pickle.dumps(every))
    assert [cell.identity()["code"] for cell in sent] == present


def test_rows_that_depend_on_what_this_run_was_not_given_stay(tmp_path: Path, told):
    suite = dataclasses.replace(SUITE, scenarios=("Video", "MovieLens"), agents=("random", "pqn"), num_seeds=1)
    (tmp_path / "pqn-Video-seed0.learnt").write_bytes(b"learnt")
    (tmp_path / "log.csv").write_text("user,item,rating,timestamp\n1,1,5,1\n")
    given = cells("made", suite, str(tmp_path / "log.csv"), trained=tmp_path)
    whole = cells("made", suite)
    with open_folder(tmp_path / "out", told, suite) as folder:
        folder.add([row(cell, **({"trained": "x"} if cell.trained_file() else {})) for cell in given])
        assert len(folder.finished(whole[:1], whole=whole)) == len(given)
        asked_for = [cell for cell in whole if cell.task == "MovieLens" and cell.agent == "random"]
        assert len(folder.finished(asked_for, whole=whole)) == len(given) - 2  # all of that log


def test_a_first_line_that_was_cut_off_is_no_row(tmp_path: Path, every, told):
    with open_folder(tmp_path, told) as folder:
        (tmp_path / RESULTS).write_bytes(b'{"suite": "ma')
        assert folder.finished(every) == []
        folder.add([row(every[0])])
        assert len(folder.finished(every)) == 1


def test_a_folder_of_another_suite_or_other_sizes_is_refused(tmp_path: Path, told):
    with open_folder(tmp_path, told):
        pass
    larger = dataclasses.replace(SUITE, num_steps=20)
    for suite, name, words in ((SUITE, "other", "not suite 'other'"), (larger, "made", "num_steps 20")):
        with pytest.raises(ResultsError, match=words) as refusal, open_folder(tmp_path, told, suite, name):
            pass
        assert "holds suite 'made' (num_steps 10" in str(refusal.value)
    fewer = dataclasses.replace(SUITE, agents=("random",), num_seeds=1)
    with open_folder(tmp_path, told, fewer):
        pass
    for damaged in (b"{", b"[]", b"\xff"):
        (tmp_path / "suite.json").write_bytes(damaged)
        with pytest.raises(ResultsError, match="is damaged"), open_folder(tmp_path, told):
            pass


def test_results_of_unknown_origin_are_not_added_to(tmp_path: Path, told):
    (tmp_path / RESULTS).write_text("{}\n")
    with pytest.raises(ResultsError, match=r"no suite\.json"), open_folder(tmp_path, told):
        pass
    assert (tmp_path / RESULTS).read_text() == "{}\n"


def test_a_second_run_cannot_write_into_the_same_folder(tmp_path: Path, told):
    with (
        open_folder(tmp_path, told),
        pytest.raises(ResultsError, match="another run is writing"),
        open_folder(tmp_path, told),
    ):
        pass
    with open_folder(tmp_path, told):
        pass


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path, told):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written") as refusal, open_folder(tmp_path / "file" / "out", told):
        pass
    assert "\n" not in str(refusal.value)
    (tmp_path / "out" / ".lock").mkdir(parents=True)
    with pytest.raises(OSError, match="cannot be written"), open_folder(tmp_path / "out", told):
        pass


@pytest.mark.parametrize("broken", [b'{"suite"', b'{"suite"\n', b'{"suite"\n\n'])
def test_a_last_line_that_was_cut_off_is_skipped_and_said(broken, tmp_path: Path, every, told):
    path = tmp_path / RESULTS
    append_rows(path, [row(every[0]), row(every[1])])
    with path.open("ab") as file:
        file.write(broken)
    assert [found["cell"] for found in read_rows(path, told.append)] == [every[0].digest, every[1].digest]
    assert told == [f"{path}:3: the last line is cut off; it is skipped"]


@pytest.mark.parametrize("ending", ["", "\n\n"])
def test_a_last_line_that_is_whole_counts_however_it_ends(ending, tmp_path: Path, every, told):
    path = tmp_path / RESULTS
    append_rows(path, [row(every[0]), row(every[1])])
    path.write_text(path.read_text().rstrip() + ending)
    assert len(read_rows(path, told.append)) == 2
    assert told == []


@pytest.mark.parametrize("key", ["family", "cell", "return_mean", "returns", "settings"])
def test_a_row_without_what_a_report_needs_is_refused_in_one_line(key, tmp_path: Path, every):
    append_rows(tmp_path / RESULTS, [{name: value for name, value in row(every[0]).items() if name != key}])
    with pytest.raises(ResultsError, match=f"results.jsonl:1: not a result row, lacks {key}$"):
        read_rows(tmp_path / RESULTS)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("return_mean", "null", "null: must be a finite number"),
        ("return_sem", "true", "true: must be a finite number"),
        ("wall_s", "1e999", "Infinity: must be a finite number"),
        ("cell", "[1]", r"\[1\]: must be text"),
        ("seed", "1.5", "1.5: must be a whole number from 0"),
        ("env_steps", "-1", "-1: must be a whole number from 0"),
        ("is_final", "1", "1: must be true or false"),
        ("status", '"fine"', '"fine": must be ok or failed'),
        ("returns", "[1.0, null]", r"\[1.0, null\]: must be finite numbers, one or more"),
        ("returns", "[]", r"\[\]: must be finite numbers, one or more"),
        ("settings", "3", "3: must be an object"),
        ("date", "null", "null: must be text"),
    ],
)
def test_a_row_with_a_value_of_the_wrong_kind_is_refused_in_one_line(key, value, allowed, tmp_path: Path, every):
    path = tmp_path / RESULTS
    append_rows(path, [row(every[0]), row(every[1], **{key: "@"})])
    path.write_text(path.read_text().replace('"@"', value))
    with pytest.raises(ResultsError, match=f"results.jsonl:2: not a result row, {key}={allowed}$"):
        read_rows(path)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_a_number_is_refused_wherever_it_stands(constant, tmp_path: Path, every):
    path = tmp_path / RESULTS
    append_rows(path, [row(every[0], metrics={"regret": "@"})])
    path.write_text(path.read_text().replace('"@"', constant))
    with pytest.raises(ResultsError, match=f"results.jsonl:1: not a result row, {constant} is not a number$"):
        read_rows(path)


def test_a_failed_row_needs_no_return(tmp_path: Path, every):
    append_rows(tmp_path / RESULTS, [every[0].failed("ValueError: no")])
    assert len(read_rows(tmp_path / RESULTS)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "holds no rows"),
        ("{nonsense\n", "holds no rows"),
        ("{nonsense\n{}\n", "results.jsonl:1: not JSON"),
        (json.dumps({"suite": "x"}) + "\n", "results.jsonl:1: not a result row, lacks agent"),
        ("[1]\n", "results.jsonl:1: not a result row"),
    ],
)
def test_a_bad_results_file_is_refused_in_one_line(content, message, tmp_path: Path):
    if content is not None:
        (tmp_path / RESULTS).write_text(content)
    with pytest.raises(ResultsError, match=message) as refusal:
        read_rows(tmp_path / RESULTS)
    assert "\n" not in str(refusal.value)


def test_rows_of_an_older_version_are_left_out_of_what_is_shown(every, told):
    rows = [
        row(every[0], version="0.1.0", date="2026-01-01T00:00:00+00:00"),
        row(every[1], version="0.2.0", date="2026-02-01T00:00:00+00:00"),
    ]
    assert of_newest_version(rows, told.append) == rows[1:]
    assert told == ["1 rows of another version (0.1.0) are kept apart: shown is 0.2.0"]
    assert of_newest_version(rows[1:], told.append) == rows[1:]
    assert len(told) == 1


def test_rows_come_back_as_they_were_written(tmp_path: Path, every):
    rows = [row(every[0], returns=[1.5, 2.25], error="ü\nx")]
    write_rows(tmp_path / RESULTS, rows)
    assert read_rows(tmp_path / RESULTS) == rows


def test_every_suite_has_a_folder_of_its_own(tmp_path: Path, told):
    for name, suite in SUITES.items():
        with open_folder(tmp_path / name, told, suite, name):
            pass


def test_a_commit_is_dirty_by_a_changed_source_and_not_by_a_changed_result(tmp_path: Path, monkeypatch):
    source, result = tmp_path / "benchmarks" / "results.py", tmp_path / "benchmarks" / "results" / "quick" / RESULTS
    result.parent.mkdir(parents=True)
    for path in (source, result):
        path.write_text("1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(results, "__file__", str(source))
    commit = provenance([])["commit"]
    assert len(commit) == 12
    result.write_text("2\n")
    assert provenance([])["commit"] == commit
    source.write_text("2\n")
    assert provenance([])["commit"] == f"{commit}-dirty"
