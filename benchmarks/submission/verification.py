"""Verification of a submission: repeats a sample of its runs, and evaluates the agent in hidden worlds."""

import dataclasses
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

import recsim_env
from benchmarks.rows import ResultsError, Row, provenance
from benchmarks.running.execution import Log, execute, log_finished, log_to
from benchmarks.running.reproduction import differences, repeated, sampled_by_scenario
from benchmarks.running.result_folder import open_results, reusable_rows
from benchmarks.running.run import Run
from benchmarks.running.suite_runs import suite_named
from benchmarks.running.workers import run_in_processes
from benchmarks.submission.agent_file import check_source
from benchmarks.submission.archive import MANIFEST, STATED, Manifest, Submission, manifest_of, privileges_of
from benchmarks.submission.submitted_run import submission_runs
from benchmarks.submission.verification_record import (
    Verification,
    hidden_worlds,
    read_verification,
    rows_by_run,
    verdict_of,
)
from benchmarks.suites import ZERO, Suite
from recsim_env.atomic_file import write_atomically

RECORD, _SEED = "verification.json", "seed"


def verified(
    submission: Submission,
    path: Path,
    out: Path,
    *,
    seed: int | None,
    share: float,
    num_hidden_seeds: int | None,
    committed: Path,
    arguments: list[str],
    screen: Console,
    num_workers: int,
) -> Verification:
    """Verify a submission and write the record to `out / RECORD`. This executes the submitted code.

    Args:
        submission: content of the submission.
        path: file of the submission, for messages.
        out: folder of the runs; a second call with the same arguments resumes an interrupted verification.
        seed: seed of the sample and the hidden worlds; None for a kept or a new one (`seed_of`).
        share: share of the public runs to repeat; at least one of the agent's is repeated in each scenario.
        num_hidden_seeds: number of seeds in the hidden worlds, at least 2; None for the suite's number.
        committed: folder of results; the references' rows are compared with it instead of being repeated.
        arguments: arguments of the command, for the record.
        screen: console for messages.
        num_workers: number of worker processes.

    Raises:
        ResultsError: `out` holds something else, the submission is from another version, its rows do not belong to its
            files, its manifest states anything else than its rows and its class, it reads the latent state in hidden
            worlds only, or runs in hidden worlds fail.
    """
    log, manifest = log_to(screen), submission.manifest
    if manifest.version != recsim_env.__version__:
        raise ResultsError(
            f"{path}: made with version {manifest.version}, this is {recsim_env.__version__}: "
            f"verify it in a checkout of {manifest.commits[-1]}"
        )
    suite = suite_named(manifest.suite)
    if manifest.sizes != {**suite.sizes(), "num_seeds": suite.num_seeds}:
        raise ResultsError(f"{path}: its sizes differ from those of the suite {suite.name!r}")
    out.mkdir(parents=True, exist_ok=True)
    seed = seed_of(out, manifest.digest, seed)
    log(f"seed {seed}")
    agent = submission.unpacked(out / "agent")
    check_source(agent.source, agent.folder)
    own, references = submission_runs(suite, manifest.name, agent)
    rows = rows_by_run(submission.rows, [*own, *references], path)
    stated = manifest.model_dump(include=set(STATED))
    _check_manifest(path, manifest, manifest_of(stated, suite, agent, own, submission.rows))
    hidden_suite = dataclasses.replace(
        suite, worlds=hidden_worlds(seed), num_seeds=suite.num_seeds if num_hidden_seeds is None else num_hidden_seeds
    )
    origin = provenance(arguments)
    own_elsewhere, elsewhere = submission_runs(hidden_suite, manifest.name, agent)
    runs = [*own_elsewhere, *(run for run in elsewhere if run.agent == ZERO)]
    runs.sort(key=lambda run: run.seed)
    hidden = _hidden_rows(runs, hidden_suite, out / "hidden", origin, screen, num_workers)
    agent_rows = [row for row in hidden if row["agent"] == manifest.name]
    privileges = privileges_of(own[0].agent_class, [*submission.own_rows, *agent_rows])
    _check_manifest(path, manifest, manifest.model_copy(update={"privileges": privileges}))
    again = _compared_with_committed(references, rows, committed, log)
    others = [run for run in references if _label(run) not in again]
    sample = [run for each in (own, others) for run in sampled_by_scenario(each, share, seed)]
    for run, fields, _ in repeated(((run, rows[run.digest]) for run in sample), num_workers, allow_new=False):
        again[_label(run)] = fields
    record = Verification(
        name=manifest.name,
        sha256=manifest.digest,
        seed=seed,
        num_hidden_seeds=hidden_suite.num_seeds,
        version=manifest.version,
        **verdict_of(manifest.name, submission.rows, hidden, again),
        **origin,
    )
    write_atomically(out / RECORD, record.as_json())
    return record


def _check_manifest(path: Path, manifest: Manifest, derived: Manifest) -> None:
    """Raise `ResultsError` if a field differs from that derived from the rows and the class.

    Hashes are checked on reading, and the versions of imported packages are those of the author's machine.
    """
    for name, value in derived.model_dump(exclude={"files", "versions"}).items():
        if (stated := getattr(manifest, name)) != value:
            raise ResultsError(f"{path}: {MANIFEST}: {name}={stated!r}: must be {value!r}, from its runs and its class")


def seed_of(out: Path, sha256: str, seed: int | None) -> int:
    """The given seed, else that of an interrupted verification in the folder, else a new one.

    A finished verification is not resumed: its record states the seed, so the worlds are no longer hidden.

    Raises:
        ResultsError: the folder holds anything else than a verification of the submission with this digest.
    """
    file, record = out / _SEED, out / RECORD
    owner, _, kept = file.read_text(errors="replace").strip().partition(" ") if file.is_file() else ("", "", "")
    if any(out.iterdir()) and not (owner == sha256 and kept.isdecimal()):
        raise ResultsError(
            f"{out}: must be empty or hold an earlier verification of this submission; choose another folder (--out)"
        )
    if seed is None:
        is_finished = record.exists() and read_verification(record).seed == int(kept)
        seed = secrets.randbits(63) if is_finished or not kept else int(kept)
    write_atomically(file, f"{sha256} {seed}\n".encode())
    return seed


def _hidden_rows(
    runs: list[Run],
    suite: Suite,
    folder: Path,
    origin: dict[str, Any],
    screen: Console,
    num_workers: int,
) -> list[Row]:
    """Rows of the runs in the hidden worlds, from a folder which keeps finished runs; failed ones are repeated."""
    log = log_to(screen)
    with open_results(folder, suite, log) as results:
        finished = results.finished(runs, retry_failed=True)
        log_finished(runs, finished, log)
        execute(results, runs, finished, origin, screen, partial(run_in_processes, num_workers=num_workers))
        digests = {run.digest for run in runs}
        rows = [row for row in results.sort() if row["run"] in digests]
    if failed := [row for row in rows if row["status"] == "failed"]:
        raise ResultsError(
            f"{len(failed)} runs in hidden worlds failed (the same command repeats them): {failed[0].get('error')}"
        )
    return rows


def _compared_with_committed(
    references: Sequence[Run], rows: dict[str, list[Row]], committed: Path, log: Log
) -> dict[str, list[str]]:
    """For each committed run of the references, the fields in which the submitted rows differ."""
    kept: dict[str, list[Row]] = {}
    for row in reusable_rows(references, [committed], log):
        kept.setdefault(row["run"], []).append(row)
    return {_label(run): differences(kept[run.digest], rows[run.digest]) for run in references if run.digest in kept}


def _label(run: Run) -> str:
    return f"{run.agent} in {run.task}, seed {run.seed}"
