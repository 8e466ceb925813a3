"""Result rows: one schema, checked when read, with one line for each kind of fault."""

import json
from pathlib import Path

import pytest
from small_suite import SUITE, row

from benchmarks.rows import ResultsError, append_rows, of_newest_version, read_objects, read_rows, write_rows
from benchmarks.running.result_folder import RESULTS
from benchmarks.running.run import Run
from benchmarks.running.suite_runs import suite_runs


@pytest.fixture
def runs() -> list[Run]:
    return suite_runs(SUITE)


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.mark.parametrize("broken", [b'{"suite"', b'{"suite"\n', b'{"suite"\n\n'])
def test_an_incomplete_last_line_is_skipped_with_a_message(broken, tmp_path: Path, runs, messages):
    path = tmp_path / RESULTS
    append_rows(path, [row(runs[0]), row(runs[1])])
    with path.open("ab") as file:
        file.write(broken)
    assert [each["run"] for each in read_rows(path, messages.append)] == [runs[0].digest, runs[1].digest]
    assert messages == [f"{path}:3: the last line is incomplete, and skipped"]


@pytest.mark.parametrize("ending", ["", "\n\n"])
def test_a_complete_last_line_counts_however_it_ends(ending, tmp_path: Path, runs, messages):
    path = tmp_path / RESULTS
    append_rows(path, [row(runs[0]), row(runs[1])])
    path.write_text(path.read_text().rstrip() + ending)
    assert len(read_rows(path, messages.append)) == 2
    assert messages == []


@pytest.mark.parametrize("key", ["family", "run", "return_mean", "returns", "settings"])
def test_a_row_with_a_missing_field_is_refused(key, tmp_path: Path, runs):
    append_rows(tmp_path / RESULTS, [{name: value for name, value in row(runs[0]).items() if name != key}])
    with pytest.raises(ResultsError, match=f"results.jsonl:1: not a result row: {key}: Field required$"):
        read_rows(tmp_path / RESULTS)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("return_mean", "null", "None': Input should be a valid number"),
        ("return_sem", "true", "True': Input should be a valid number"),
        ("return_mean", "1e308", r"1e\+308': Input should be less than 1000000000000000"),
        ("wall_s", "1e999", "inf': Input should be a finite number"),
        ("wall_s", "NaN", "nan': Input should be a finite number"),
        ("family", '"none"', "none': Value error, must be one of reference, .*own"),
        ("curves", '{"by_step": {"reward": [1.0]}}', "{'by_step': .*: must have reward, and num_sessions.*"),
        ("run", "[1]", r"\[1\]': Input should be a valid string"),
        ("seed", "1.5", "1.5': Input should be a valid integer"),
        ("seed", "1" * 30, "1+': Input should be less than 9223372036854775808"),
        ("env_steps", "-1", "-1': Input should be greater than or equal to 0"),
        ("is_final", "1", "1': Input should be a valid boolean"),
        ("status", '"fine"', "fine': Input should be 'ok' or 'failed'"),
        ("returns.1", "[1.0, null]", "None': Input should be a valid number"),
        ("returns", "[]", r"\[\]': List should have at least 1 item after validation, not 0"),
        ("settings", "3", "3': Input should be an object"),
        ("settings", '{"a": [NaN]}', r"{'a': \[nan\]}\": Value error, Out of range float values.*"),
        ("metrics.regret", '{"regret": "much"}', "much': Input should be a valid number"),
        ("metrics.regret", '{"regret": -Infinity}', "-inf': Input should be a finite number"),
        ("date", "null", "None': Input should be a valid string"),
    ],
)
def test_a_row_with_a_wrong_value_is_refused_in_one_line(key, value, allowed, tmp_path: Path, runs):
    path = tmp_path / RESULTS
    append_rows(path, [row(runs[0]), row(runs[1], **{key.split(".")[0]: "@"})])
    path.write_text(path.read_text().replace('"@"', value))
    with pytest.raises(ResultsError, match=f"results.jsonl:2: not a result row: {key}=['\"]{allowed}$"):
        read_rows(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[" * 5_000 + "]" * 5_000, r"not JSON \(recursion limit exceeded"),
        ("1" * 5_000, r"not JSON \(number out of range"),
        (r'"\ud800"', r"not JSON \(unexpected end of hex escape"),
        ("\x00", r"not JSON"),
    ],
)
def test_json_that_cannot_be_read_is_refused_in_one_line(value, message, tmp_path: Path, runs):
    path = tmp_path / RESULTS
    append_rows(path, [row(runs[0], settings={"a": "@"}), row(runs[1])])
    path.write_text(path.read_text().replace('"@"', value))
    with pytest.raises(ResultsError, match=f"results.jsonl:1: {message}") as refusal:
        read_rows(path)
    assert "\n" not in str(refusal.value)


def test_an_unknown_field_is_refused_by_name(tmp_path: Path, runs):
    append_rows(tmp_path / RESULTS, [row(runs[0], retrun_mean=1.0)])
    with pytest.raises(ResultsError, match="not a result row: retrun_mean: Extra inputs are not permitted"):
        read_rows(tmp_path / RESULTS)


def test_a_lone_surrogate_in_an_error_is_written_as_a_question_mark(tmp_path: Path, runs):
    append_rows(tmp_path / RESULTS, [runs[0].failed("ValueError: \ud800 no")])
    assert read_rows(tmp_path / RESULTS)[0]["error"] == "ValueError: ? no"


def test_a_file_that_cannot_be_written_or_read_is_named_with_the_reason(tmp_path: Path, runs):
    with pytest.raises(OSError, match=r"missing/results.jsonl: cannot be written \(No such file"):
        append_rows(tmp_path / "missing" / RESULTS, [row(runs[0])])
    with pytest.raises(OSError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        append_rows(Path("/dev/full"), [row(runs[0])])
    with pytest.raises(ResultsError, match="cannot be read"):
        read_rows(tmp_path / "a\0b")


def test_a_failed_row_needs_no_return(tmp_path: Path, runs):
    append_rows(tmp_path / RESULTS, [runs[0].failed("ValueError: no")])
    assert len(read_rows(tmp_path / RESULTS)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read .No such file"),
        ("", "holds no rows"),
        ("{nonsense\n", "holds no rows"),
        ("{nonsense\n{}\n", "results.jsonl:1: not JSON"),
        (json.dumps({"suite": "x"}) + "\n", "results.jsonl:1: not a result row: agent: Field required"),
        ("[1]\n", "results.jsonl:1: not a result row"),
    ],
)
def test_a_bad_results_file_is_refused_in_one_line(content, message, tmp_path: Path):
    if content is not None:
        (tmp_path / RESULTS).write_text(content)
    with pytest.raises(ResultsError, match=message) as refusal:
        read_rows(tmp_path / RESULTS)
    assert "\n" not in str(refusal.value)


def test_rows_of_any_schema_are_read_and_only_the_last_line_may_be_incomplete(tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n{"b": 2}\n')
    assert read_objects(file) == read_objects(file, allow_incomplete=True) == [{"a": 1}, {"b": 2}]
    file.write_text('{"a": 1}\n{"b"')
    assert read_objects(file, allow_incomplete=True) == [{"a": 1}]
    with pytest.raises(ResultsError, match=r"rows\.jsonl:2: not a JSON object$"):
        read_objects(file)
    for wrong in ("{", "[]", "", "[" * 100_000):
        file.write_text(f"{wrong}\n")
        with pytest.raises(ResultsError, match=r"rows\.jsonl:1: not a JSON object$"):
            read_objects(file, allow_incomplete=True)


def test_rows_of_an_older_version_are_left_out(runs, messages):
    rows = [
        row(runs[0], version="0.1.0", date="2026-01-01T00:00:00+00:00"),
        row(runs[1], version="0.2.0", date="2026-02-01T00:00:00+00:00"),
    ]
    assert of_newest_version(rows, messages.append) == rows[1:]
    assert messages == ["1 rows of another version (0.1.0) are left out; shown is 0.2.0"]
    assert of_newest_version(rows[1:], messages.append) == rows[1:]
    assert len(messages) == 1


def test_rows_survive_writing_and_reading(tmp_path: Path, runs):
    rows = [row(runs[0], returns=[1.5, 2.25], error="ü\nx")]
    write_rows(tmp_path / RESULTS, rows)
    assert read_rows(tmp_path / RESULTS) == rows
