"""Submissions: an agent in a single file is run, packed, checked and verified, or rejected in one line."""

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import pytest
from small_suite import row

from benchmarks.__main__ import main
from benchmarks.commands import submit as submit_command
from benchmarks.commands import verify as verify_command
from benchmarks.committed_results import COMMITTED
from benchmarks.report.submission_board import board
from benchmarks.rows import ResultsError, as_lines, read_rows, write_rows
from benchmarks.running.suite_runs import suite_runs
from benchmarks.submission.agent_file import sha256
from benchmarks.submission.archive import MANIFEST, ROWS, Manifest, read_submission
from benchmarks.submission.published import publish
from benchmarks.submission.submitted_run import submission_runs
from benchmarks.submission.verification import seed_of
from benchmarks.submission.verification_record import hidden_worlds, read_verification
from benchmarks.suites import ONE, SUITES, ZERO, Suite

TINY = Suite(
    name="submission",
    scenarios=("Video",),
    agents=(ZERO, ONE),
    num_seeds=2,
    num_steps=10,
    num_sessions=4,
)
FIRST_CANDIDATE = """
from pathlib import Path

import numpy as np

from agents.agent import Agent

Path(__file__).with_name("was-imported").touch()


class FirstCandidate(Agent):
    \"\"\"Shows the first candidate.\"\"\"

    def act(self, observations, state, episode_start, deterministic):
        return np.zeros(len(episode_start), np.int64)
"""
ONLY_IN_HIDDEN_WORLDS = """
import numpy as np

from agents.agent import Agent


class Sleeper(Agent):
    \"\"\"Reads the latent state in catalogues with high seeds, and fails while a file exists.\"\"\"

    def act(self, observations, state, episode_start, deterministic):
        if self.env.simulator.catalog_seed < 10**9:
            return np.zeros(len(episode_start), np.int64)
        assert not FAILS.exists(), "the disk is full"
        return self.env.simulator.latent_state()["expected_rewards"].argmax(1)
"""
SEED = 5


def references(suite: Suite) -> list[dict]:
    """Rows of random and of the planning oracle, whose search would take a minute."""
    runs = suite_runs(dataclasses.replace(suite, agents=(ZERO, ONE)))
    means = {ZERO: 0.0, ONE: 20.0}
    others = {"num_sessions": 4, "session_length_mean": 9.0, "churn": 0.5, "metrics": {}, "curves": {}}
    others |= dict.fromkeys(("steps_per_s", "peak_memory_mib", "run_s"), None) | {"evaluation_s": 1.0}
    return [row(run, return_mean=means[run.agent], returns=[means[run.agent]] * 4, **others) for run in runs]


def arguments(folder: Path, *others: str) -> list[str]:
    agent = f"{folder / 'first_candidate.py'}:FirstCandidate"
    stated = ["--name", "first-candidate", "--author", "A. Author", "--author", "B. Author", "--licence", "MIT"]
    return ["submit", agent, *stated, "--workers", "1", "--out", str(folder / "first.zip"), *others]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an agent's file, committed rows of the references in `results`, and the submission `first.zip`."""
    folder = tmp_path_factory.mktemp("submission")
    (folder / "first_candidate.py").write_text(FIRST_CANDIDATE)
    (folder / "results").mkdir()
    write_rows(folder / "results" / "results.jsonl", references(TINY))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SUITES, "submission", TINY)
        patch.setattr(submit_command, "COMMITTED", folder / "results")
        patch.setattr(verify_command, "COMMITTED", folder / "results")
        assert main(arguments(folder)) == 0
        yield folder


def changed(folder: Path, path: Path, name: str, old: str, new: str) -> Path:
    """A copy of the submission in which one member differs."""
    with zipfile.ZipFile(folder / "first.zip") as archive, zipfile.ZipFile(path, "w") as copy:
        for member in archive.namelist():
            content = archive.read(member).decode()
            copy.writestr(member, content.replace(old, new) if member == name else content)
    return path


def restated(submission: Path, path: Path, row: dict | None = None, without: str = "", **fields: Any) -> Path:
    """A forged copy of a submission, with other values in the manifest, and in the agent's rows or without a field."""
    with zipfile.ZipFile(submission) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = Manifest.model_validate_json(files[MANIFEST])
    rows = [
        {name: value for name, value in {**each, **(row or {})}.items() if name != without}
        if each["agent"] == manifest.name
        else each
        for each in read_submission(submission).rows
    ]
    files[ROWS] = as_lines(rows)
    fields = {"files": {name: sha256(files[name]) for name in manifest.files}, **fields}
    files[MANIFEST] = manifest.model_copy(update=fields).as_json()
    with zipfile.ZipFile(path, "w") as copy:
        for name, content in files.items():
            copy.writestr(name, content)
    return path


def test_a_submission_contains_the_file_its_rows_and_its_authors(folder):
    submission = read_submission(folder / "first.zip")
    manifest = submission.manifest
    assert (manifest.name, manifest.authors, manifest.licence) == ("first-candidate", ["A. Author", "B. Author"], "MIT")
    assert manifest.agent == "first_candidate.py:FirstCandidate"
    assert manifest.description == "Shows the first candidate."
    assert manifest.privileges == []
    assert set(manifest.files) == {"first_candidate.py", ROWS}
    assert submission.files["first_candidate.py"].decode() == FIRST_CANDIDATE
    assert {each["agent"] for each in submission.rows} == {"first-candidate", ZERO, ONE}
    assert len(submission.own_rows) == 2


def test_the_same_command_gives_the_same_bytes(folder):
    before = (folder / "first.zip").read_bytes()
    assert main(arguments(folder)) == 0
    assert (folder / "first.zip").read_bytes() == before


def test_code_is_executed_only_if_it_is_trusted(folder, capsys):
    assert main(["verify", str(folder / "first.zip"), "--out", str(folder / "untrusted")]) == 2
    assert "add --trust-code" in capsys.readouterr().err
    assert not (folder / "untrusted").exists()


def test_a_verified_submission_is_published_once_for_each_name(folder, capsys):
    out = folder / "verified"
    zip_file = folder / "first.zip"
    command = ["verify", str(zip_file), "--trust-code", "--seed", str(SEED), "--workers", "1", "--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "4 runs of the references equal the committed ones or their repetition" in said
    assert "verdict: verified" in said
    record, submission = read_verification(out / "verification.json"), read_submission(zip_file)
    assert record.sha256 == submission.manifest.digest
    assert len(record.repeated) == 5  # one of the agent's two runs, and the four of the references
    assert not any(record.repeated.values())
    assert record.public_scores.keys() == record.hidden_scores.keys() == {"Video"}

    results = folder / "published"
    version = results / "submissions" / submission.manifest.version
    publish(zip_file, submission, record, results)
    publish(zip_file, submission, record, results)  # again: nothing changes
    write_rows(version / "results.jsonl", references(TINY))
    page = board(results)
    assert "| [`first-candidate`](#first-candidate) | A. Author, B. Author |" in page
    assert submission.manifest.digest in page
    other = changed(folder, folder / "other.zip", "first_candidate.py", "Shows", "Displays")
    with pytest.raises(ResultsError, match="another submission has that name"):
        publish(other, submission, record, results)
    (version / "first-candidate.zip").write_bytes(other.read_bytes())
    with pytest.raises(ResultsError, match="was changed"):
        board(results)
    publish_path = version / "first-candidate.zip"
    publish_path.write_bytes(zip_file.read_bytes())
    write_rows(version / "results.jsonl", references(dataclasses.replace(TINY, worlds=hidden_worlds(SEED))))
    with pytest.raises(ResultsError, match="its references are not those"):
        board(results)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (ROWS, '"return_mean": ', '"return_mean": 1', "rows.jsonl: was changed"),
        ("first_candidate.py", "zeros", "ones", "first_candidate.py: was changed"),
        (MANIFEST, '"licence"', '"license"', "licence: Field required"),
        (MANIFEST, "MIT", "", "licence: String should have at least 1 character"),
        (MANIFEST, "first_candidate.py:", "../first_candidate.py:", "must be FILE.py:CLASS"),
        (MANIFEST, "first-candidate", "popularity", "an agent of the registry has that name"),
    ],
)
def test_a_changed_submission_is_refused_in_one_line(folder, tmp_path, capsys, name, old, new, message):
    path = changed(folder, tmp_path / "changed.zip", name, old, new)
    assert main(["verify", str(path), "--trust-code"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("privileges", ["feedback on evaluation items"]),
        ("description", "Shows the best candidate."),
        ("commits", ["0123456789ab"]),
        ("command", "python -m benchmarks submit"),
    ],
)
def test_a_manifest_that_differs_from_the_runs_and_the_class_is_refused(folder, tmp_path, capsys, field, value):
    path = restated(folder / "first.zip", tmp_path / "forged.zip", **{field: value})
    assert main(["verify", str(path), "--trust-code", "--workers", "1"]) == 2
    error = capsys.readouterr().err
    assert f"forged.zip: manifest.json: {field}={value!r}: must be " in error
    assert error.count("\n") == 1
    assert not (tmp_path / "forged-verified" / "hidden").exists()


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        ({"row": {"return_mean": 30.0}}, "num_sessions and return_mean must be the number and the mean of returns"),
        ({"row": {"num_sessions": 3}}, "num_sessions and return_mean must be the number and the mean of returns"),
        ({"without": "num_sessions"}, "must have num_sessions"),
        ({"without": "metrics"}, "must have metrics"),
        ({"without": "latent_reads"}, "must have latent_reads"),
        ({"without": "commit"}, "must have commit"),
    ],
)
def test_rows_without_a_field_or_with_another_mean_are_refused(folder, tmp_path, capsys, forged, message):
    path = restated(folder / "first.zip", tmp_path / "forged.zip", **forged)
    assert main(["verify", str(path), "--trust-code"]) == 2
    error = capsys.readouterr().err
    assert f"the row of first-candidate in Video with seed 0: {message}" in error
    assert error.count("\n") == 1


def test_rows_that_a_repetition_does_not_give_again_are_not_reproduced(folder, tmp_path, capsys):
    path = restated(folder / "first.zip", tmp_path / "forged.zip", row={"returns": [30.0] * 4, "return_mean": 30.0})
    assert main(["verify", str(path), "--trust-code", "--workers", "1", "--sample", "0"]) == 1
    record = read_verification(tmp_path / "forged-verified" / "verification.json")
    assert record.verdict == "not reproduced"
    assert ["return_mean", "returns"] in record.repeated.values()


def test_failed_hidden_runs_are_repeated_and_undeclared_reads_in_hidden_worlds_are_refused(folder, tmp_path, capsys):
    fails = tmp_path / "full-disk"
    source = ONLY_IN_HIDDEN_WORLDS.replace("FAILS", f"__import__('pathlib').Path({str(fails)!r})")
    (tmp_path / "sleeper.py").write_text(source)
    path = tmp_path / "sleeper.zip"
    stated = ["--name", "sleeper", "--author", "A. Author", "--licence", "MIT", "--workers", "1"]
    assert main(["submit", f"{tmp_path / 'sleeper.py'}:Sleeper", *stated, "--out", str(path)]) == 0
    assert read_submission(path).manifest.privileges == []
    fails.touch()
    command = ["verify", str(path), "--trust-code", "--workers", "1"]
    assert main(command) == 2
    assert "2 runs in hidden worlds failed (the same command repeats them): " in capsys.readouterr().err
    fails.unlink()
    assert main(command) == 2
    assert "privileges=[]: must be ['latent state in play']" in capsys.readouterr().err
    assert not (tmp_path / "sleeper-verified" / "verification.json").exists()


def test_the_seed_is_kept_until_the_verification_is_finished(tmp_path):
    seed = seed_of(tmp_path, "digest", None)
    assert seed_of(tmp_path, "digest", None) == seed
    assert seed_of(tmp_path, "digest", SEED) == seed_of(tmp_path, "digest", None) == SEED
    finished = read_verification(next((COMMITTED / "submissions").rglob("*.verification.json")))
    (tmp_path / "verification.json").write_bytes(finished.model_copy(update={"seed": SEED}).as_json())
    other = seed_of(tmp_path, "digest", None)
    assert other != SEED
    assert seed_of(tmp_path, "digest", None) == other  # the second verification is interrupted, too


@pytest.mark.parametrize("kept", ["5", "other-digest 5", "digest", None])
def test_a_folder_of_another_submission_is_refused(folder, tmp_path, capsys, kept):
    (tmp_path / "hidden").mkdir()
    if kept is not None:
        (tmp_path / "seed").write_text(kept)
    assert main(["verify", str(folder / "first.zip"), "--trust-code", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "must be empty or hold an earlier verification of this submission" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_a_file_that_is_not_a_submission_is_refused_in_one_line(tmp_path, capsys, content):
    path = tmp_path / "submission.zip"
    if content is not None:
        path.write_bytes(content)
    assert main(["verify", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sizes": {"num_seeds": 10**9}}, "must have one final row of first-candidate, random, planning-oracle"),
        ({"url": "x)<img src=x onerror=alert(1)>("}, "url: String should match pattern"),
        ({"sizes": {"num_seeds": -2}}, "must have one final row of first-candidate, random, planning-oracle"),
        ({"version": "0.0.1", "commits": []}, "commits: List should have at least 1 item"),
    ],
)
def test_a_manifest_with_impossible_values_is_refused_in_one_line(folder, tmp_path, capsys, fields, message):
    path = restated(folder / "first.zip", tmp_path / "forged.zip", **fields)
    assert main(["verify", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("letter", [b"\xff\xff", b"\n\n"])
def test_a_damaged_name_of_a_member_is_refused_in_one_line(folder, tmp_path, capsys, letter):
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(folder / "first.zip") as archive, zipfile.ZipFile(path, "w") as copy:
        for member in archive.namelist():
            copy.writestr(member, archive.read(member))
        copy.writestr("ä.py", "")
    path.write_bytes(path.read_bytes().replace("ä".encode(), letter))
    assert main(["verify", str(path)]) == 2
    error = capsys.readouterr().err
    assert "damaged.zip: " in error
    assert error.count("\n") == 1


def test_rows_depend_on_the_content_of_the_file(folder, tmp_path):
    submission = read_submission(folder / "first.zip")
    agent = submission.unpacked(tmp_path)
    of_zip = {each["run"] for each in submission.own_rows}
    assert {run.digest for run in submission_runs(TINY, "first-candidate", agent)[0]} == of_zip
    agent.source.write_text(FIRST_CANDIDATE.replace("zeros", "ones"))
    assert of_zip.isdisjoint(run.digest for run in submission_runs(TINY, "first-candidate", agent)[0])


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["--suite", "standard"], "MovieLens needs a ratings log"),
        (["--suite", "no-such"], "suite 'no-such'"),
        (["--out", "first.txt"], "must end with .zip"),
        (["--author", ""], "--author ''"),
        (["--url", "javascript:alert(1)"], "--url 'javascript:alert(1)'"),
        (["--url", "https://a.org)<img src=x>("], "--url 'https://a.org)<img src=x>('"),
        (["--weights", "no-such-file"], "--weights no-such-file: no such file"),
    ],
)
def test_a_request_that_cannot_be_fulfilled_ends_in_one_line(folder, tmp_path, capsys, monkeypatch, others, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments(folder, "--work", str(tmp_path / "work"), *others)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("decorator", ["", "@__import__('dataclasses').dataclass(kw_only=True, eq=False)\n"])
def test_an_agent_without_a_docstring_is_refused_before_it_is_run(folder, tmp_path, capsys, decorator):
    source = FIRST_CANDIDATE.replace('    """Shows the first candidate."""\n\n', "").replace(
        "class ", f"{decorator}class "
    )
    (tmp_path / "first_candidate.py").write_text(source)
    assert main(arguments(tmp_path)) == 2
    error = capsys.readouterr().err
    assert "first_candidate:FirstCandidate: must have a docstring" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "first" / "results.jsonl").exists()


def test_an_agent_that_fails_is_not_packed(folder, tmp_path, capsys):
    source = FIRST_CANDIDATE.replace("np.zeros", "np.no_such_function")
    (tmp_path / "first_candidate.py").write_text(source)
    assert main(arguments(tmp_path)) == 1
    assert "nothing is packed: 2 of 6 runs failed" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "first.zip").exists()
    rows = read_rows(tmp_path / "first" / "results.jsonl")
    assert ["no_such_function" in each.get("error", "") for each in rows].count(True) == 2
