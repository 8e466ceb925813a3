"""The published submissions, in `results/submissions`, with a folder for each version of the envs.

The folder holds NAME.zip and NAME.verification.json of each submission, and the rows of the suite `submission`, whose
agents are also on the leaderboard.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import ResultsError, Row, read_rows
from benchmarks.running.result_folder import RESULTS
from benchmarks.submission.archive import Submission, read_submission
from benchmarks.submission.verification_record import Verification, read_verification
from benchmarks.suites import ONE, ZERO
from recsim_env.atomic_file import write_atomically

SUBMISSIONS, SUITE = "submissions", "submission"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A submission on the leaderboard."""

    file: Path
    submission: Submission
    verification: Verification


def publish(path: Path, submission: Submission, record: Verification, results: Path) -> Path:
    """Copy a verified submission and its record into the committed results, and return the new file.

    Raises:
        ResultsError: the submission is for another suite, or the version has another submission with this name.
        OSError: a file cannot be written.
    """
    manifest = submission.manifest
    if manifest.suite != SUITE:
        raise ResultsError(f"{path}: is for the suite {manifest.suite!r}; the leaderboard requires {SUITE!r}")
    folder = results / SUBMISSIONS / manifest.version
    file = folder / f"{manifest.name}.zip"
    if file.exists() and file.read_bytes() != path.read_bytes():
        raise ResultsError(f"{file}: another submission has that name; choose another name, or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(file, path.read_bytes())
    write_atomically(file.with_suffix(".verification.json"), record.as_json())
    return file


def published(folder: Path) -> Iterator[Published]:
    """The submissions in the folder of a version, sorted by name.

    Raises:
        ResultsError: a submission is damaged, not verified, or from another version.
    """
    for file in sorted(folder.glob("*.zip")):
        submission = read_submission(file)
        record = read_verification(file.with_suffix(".verification.json"))
        manifest = submission.manifest
        if (record.sha256, record.verdict) != (manifest.digest, "verified"):
            raise ResultsError(f"{file}: its record does not state that this file was verified")
        if (manifest.version, manifest.suite, f"{manifest.name}.zip") != (folder.name, SUITE, file.name):
            raise ResultsError(f"{file}: is {manifest.name!r} of version {manifest.version}, suite {manifest.suite!r}")
        yield Published(file=file, submission=submission, verification=record)


def rows_of_version(folder: Path, submissions: list[Published]) -> list[Row]:
    """The rows of the suite `submission` in the folder of a version, and those of its submissions.

    Raises:
        ResultsError: the rows of random or the planning oracle in a submission differ from those in the folder.
    """
    rows = [row for row in read_rows(folder / RESULTS) if row["version"] == folder.name]
    scale = {row["run"] for row in rows if row["agent"] in (ZERO, ONE)}
    for each in submissions:
        if {row["run"] for row in each.submission.rows if row["agent"] in (ZERO, ONE)} != scale:
            raise ResultsError(f"{each.file}: its references are not those of {folder / RESULTS}")
        rows += each.submission.own_rows
    return rows
