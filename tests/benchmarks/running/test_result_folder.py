"""Folders of results: rows are whole, stale ones are set aside, and a folder belongs to one suite and one command."""

import dataclasses
from pathlib import Path

import pytest
from small_suite import SUITE, row

from benchmarks.rows import ResultsError, key_of, provenance, read_rows
from benchmarks.running.result_folder import RESULTS, STALE, open_results, reusable_rows
from benchmarks.running.run import Run
from benchmarks.running.suite_runs import suite_runs
from benchmarks.suites import SUITES, Suite
from recsim_env.locked_folder import FolderInUseError


@pytest.fixture
def runs() -> list[Run]:
    return suite_runs(SUITE)


@pytest.fixture
def messages() -> list[str]:
    return []


def open_folder(path: Path, messages: list[str], suite: Suite = SUITE):
    return open_results(path, suite, messages.append)


def test_finished_runs_are_kept_and_incomplete_ones_dropped(tmp_path: Path, runs, messages):
    with open_folder(tmp_path, messages) as folder:
        assert folder.finished(runs) == []
        folder.add([row(runs[0], False), row(runs[0])])
        folder.add([row(runs[1], False)])  # its process was killed before the final row was written
    with open_folder(tmp_path, messages) as folder:
        assert [each["run"] for each in folder.finished(runs)] == [runs[0].digest] * 2
    assert len(read_rows(tmp_path / RESULTS)) == 2
    assert messages == []


def test_rows_are_sorted_like_the_runs(tmp_path: Path, runs, messages):
    with open_folder(tmp_path, messages) as folder:
        for run in reversed(runs):
            folder.add([row(run)])
        assert [each["run"] for each in folder.sort()] == [run.digest for run in runs]


def test_rows_are_sorted_like_the_whole_suite_if_a_part_is_requested(tmp_path: Path, messages):
    quick = dataclasses.replace(SUITES["quick"], agents=("random", "popularity"), num_seeds=1)
    part = dataclasses.replace(quick, scenarios=("News",), agents=("mine:Own", "popularity"))
    video, news = ([run for run in suite_runs(quick) if run.task == task] for task in quick.scenarios)
    own = dataclasses.replace(news[0], agent="mine:Own")
    with open_folder(tmp_path, messages, part) as folder:
        for run in (own, *reversed(news), *reversed(video)):
            folder.add([row(run)])
        order = [(each["scenario"], each["agent"]) for each in folder.sort()]
    assert order == [(run.task, run.agent) for run in (*video, *news, own)]


def test_failed_runs_are_repeated_on_request(tmp_path: Path, runs, messages):
    with open_folder(tmp_path, messages) as folder:
        folder.add([runs[0].failed("ValueError: no", "Traceback ...") | provenance([])])
        folder.add([row(runs[1])])
        assert len(folder.finished(runs)) == 2
        assert [each["run"] for each in folder.finished(runs, retry_failed=True)] == [runs[1].digest]


def test_stale_rows_are_set_aside_unless_they_are_allowed(tmp_path: Path, runs, messages):
    with open_folder(tmp_path, messages) as folder:
        folder.add([row(runs[0], run="0123456789abcdef", version="0.0.1")])
        folder.add([row(runs[1])])
        assert len(folder.finished(runs, allow_stale=True)) == 2
        assert messages == []
        assert [each["run"] for each in folder.finished(runs)] == [runs[1].digest]
    assert [each["version"] for each in read_rows(tmp_path / STALE)] == ["0.0.1"]
    assert messages[0].startswith(
        "1 stale rows (another version, world, size, setting or source) are moved to stale.jsonl"
    )


def test_runs_that_are_not_requested_stay_unless_they_are_stale(tmp_path: Path, runs, messages):
    requested = [run for run in runs if run.agent == "random" and run.seed == 0]
    news = suite_runs(dataclasses.replace(SUITE, scenarios=("News",)))
    unknown = [dataclasses.replace(runs[0], agent="mine:Own"), news[0]]
    with open_folder(tmp_path, messages) as folder:
        folder.add([row(run, run="0123456789abcdef") for run in (*runs[2:], *unknown)])
        folder.add([row(runs[0]), row(runs[1])])
        kept = folder.finished(requested, whole=runs)
    assert [each["agent"] for each in kept] == ["mine:Own", "random", "random", "linucb"]
    assert [(each["agent"], each["seed"]) for each in read_rows(tmp_path / STALE)] == [("random", 1), ("linucb", 1)]


def test_a_command_interrupted_while_it_moves_stale_rows_leaves_each_of_them_once(tmp_path: Path, runs, messages):
    with open_folder(tmp_path, messages) as folder:
        folder.add([row(run, run="0123456789abcdef") for run in runs])
        content = (tmp_path / RESULTS).read_bytes()
        folder.finished(runs)
        stale = (tmp_path / STALE).read_bytes()
        (tmp_path / STALE).write_bytes(stale + stale[:40])  # the machine stopped in the middle of a line
        (tmp_path / RESULTS).write_bytes(content)
        folder.finished(runs)
    assert (tmp_path / STALE).read_bytes() == stale
    assert len(read_rows(tmp_path / STALE)) == len(runs)


def test_a_learner_is_finished_only_if_its_agent_is_saved_where_that_is_requested(tmp_path: Path, messages):
    suite = dataclasses.replace(SUITE, agents=("random", "eb-linucb", "pqn"))
    runs = suite_runs(suite, save_models=tmp_path)
    saved = next(run for run in runs if run.agent == "eb-linucb")
    saved.save_to.touch()
    with open_folder(tmp_path / "out", messages, suite) as folder:
        failure = runs[-1].failed("ValueError: no idea")
        folder.add([*(row(run) for run in runs[:-1]), {**provenance([]), **failure}])
        assert len(folder.finished(suite_runs(suite))) == len(runs)
        kept = [key_of(each) for each in folder.finished(runs)]
    assert kept == [run.key for run in runs if run.agent == "random" or run in (saved, runs[-1])]
    assert messages == ["2 finished runs are repeated to save their agents; their rows are moved to stale.jsonl"]
    assert [each["agent"] for each in read_rows(tmp_path / "out" / STALE)] == ["pqn", "eb-linucb"]


def test_rows_that_depend_on_files_of_another_command_stay(tmp_path: Path, messages):
    suite = dataclasses.replace(SUITE, scenarios=("Video", "MovieLens"), agents=("random", "eb-linucb"), num_seeds=1)
    (tmp_path / "eb-linucb-Video-seed0.safetensors").write_bytes(b"learned")
    (tmp_path / "log.csv").write_text("user,item,rating,timestamp\n1,1,5,1\n")
    given = suite_runs(suite, str(tmp_path / "log.csv"), load_models=tmp_path)
    whole = suite_runs(suite)
    with open_folder(tmp_path / "out", messages, suite) as folder:
        folder.add([row(run, **({"loaded_from": "x"} if run.load_from else {})) for run in given])
        assert len(folder.finished(whole[:1], whole=whole)) == len(given)


def test_equal_runs_of_other_folders_are_reused(tmp_path: Path, runs, messages):
    with open_folder(tmp_path / "a", messages) as folder:
        folder.add([row(runs[0], suite="elsewhere"), row(runs[1], version="0.0.1", run="0123456789abcdef")])
        folder.add([runs[2].failed("ValueError: no"), row(runs[3], False)])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / RESULTS).write_text("{}\n{}\n")
    reused = reusable_rows(runs, [tmp_path], messages.append)
    assert [(each["run"], each["suite"]) for each in reused] == [(runs[0].digest, "small")]
    assert len(messages) == 1
    assert messages[0].startswith(f"not reused: {tmp_path / 'b' / RESULTS}:1: not a result row")


def test_an_incomplete_first_line_is_no_row(tmp_path: Path, runs, messages):
    with open_folder(tmp_path, messages) as folder:
        (tmp_path / RESULTS).write_bytes(b'{"suite": "ma')
        assert folder.finished(runs) == []
        folder.add([row(runs[0])])
        assert len(folder.finished(runs)) == 1


def test_a_folder_of_another_suite_or_other_sizes_is_refused(tmp_path: Path, messages):
    with open_folder(tmp_path, messages):
        pass
    larger = dataclasses.replace(SUITE, num_steps=20)
    other = dataclasses.replace(SUITE, name="other")
    for suite, words in ((other, "not suite 'other'"), (larger, "num_steps 20")):
        with pytest.raises(ResultsError, match=words) as refusal, open_folder(tmp_path, messages, suite):
            pass
        assert "holds suite 'small' (num_steps 10" in str(refusal.value)
    fewer = dataclasses.replace(SUITE, agents=("random",), num_seeds=1)
    with open_folder(tmp_path, messages, fewer):
        pass
    for damaged in (b"{", b"[]", b"\xff"):
        (tmp_path / "suite.json").write_bytes(damaged)
        with pytest.raises(ResultsError, match="is damaged"), open_folder(tmp_path, messages):
            pass


def test_results_of_unknown_origin_are_not_added_to(tmp_path: Path, messages):
    (tmp_path / RESULTS).write_text("{}\n")
    with pytest.raises(ResultsError, match=r"no suite\.json"), open_folder(tmp_path, messages):
        pass
    assert (tmp_path / RESULTS).read_text() == "{}\n"


def test_a_second_run_cannot_write_into_the_same_folder(tmp_path: Path, messages):
    with (
        open_folder(tmp_path, messages),
        pytest.raises(FolderInUseError, match="another run is writing"),
        open_folder(tmp_path, messages),
    ):
        pass
    with open_folder(tmp_path, messages):
        pass


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path, messages):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written") as refusal, open_folder(tmp_path / "file" / "out", messages):
        pass
    assert "\n" not in str(refusal.value)
    (tmp_path / "out" / ".lock").mkdir(parents=True)
    with pytest.raises(OSError, match="cannot be written"), open_folder(tmp_path / "out", messages):
        pass


def test_every_suite_has_a_folder_of_its_own(tmp_path: Path, messages):
    for name, suite in SUITES.items():
        with open_folder(tmp_path / name, messages, suite):
            pass
