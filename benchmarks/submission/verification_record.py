"""The record of a verification: the repeated runs, the agent's scores in the hidden worlds, and the verdict."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from agents.registry import UnknownAgentError
from benchmarks.analysis.agreement import difference, gains_by_scenario, scenarios_below
from benchmarks.analysis.bootstrap import Estimate
from benchmarks.rows import ResultsError, Row, first_problem, key_of
from benchmarks.running.run import Run
from benchmarks.submission.archive import EXACT
from benchmarks.suites import Worlds

Number = Annotated[float, Field(allow_inf_nan=False)]
CONFIDENCE = 0.99
"""Confidence level of the intervals behind the verdict: about one honest agent in a hundred is called overfitted."""

_FIRST = 10**9
"""The lowest seed of hidden worlds, above those of the public worlds and of tuning."""


def hidden_worlds(seed: int) -> Worlds:
    """Training and evaluation worlds derived from a secret seed; users in evaluation are from the split `test`."""
    digest = hashlib.sha256(f"recsim_env worlds of a verification, seed {seed}".encode()).digest()
    numbers = [_FIRST + int.from_bytes(digest[4 * n : 4 * n + 4], "little") for n in range(3)]
    return Worlds(split="test", training_catalog_seed=numbers[0], catalog_seed=numbers[1], sessions_seed=numbers[2])


def rows_by_run(rows: Sequence[Row], runs: Sequence[Run], where: Path) -> dict[str, list[Row]]:
    """The rows of each run, by its digest.

    Raises:
        ResultsError: rows do not belong to these runs: their files, settings, worlds or sizes differ.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["run"], []).append(row)
    for run in runs:
        try:
            digest = run.digest
        except UnknownAgentError as error:
            raise ResultsError(f"{where}: {error}") from None
        if digest not in found:
            raise ResultsError(
                f"{where}: {run.agent} in {run.task} with seed {run.seed}: the rows come from other files, settings, "
                "worlds or sizes than the current ones"
            )
        if any(key_of(row) != run.key for row in found[digest]):
            raise ResultsError(f"{where}: a row of {run.agent} in {run.task} names another scenario or seed")
    if len(found) > len(runs):
        raise ResultsError(f"{where}: has rows of {len(found) - len(runs)} runs outside the suite")
    return found


class Interval(BaseModel):
    """A score with its 95% interval."""

    model_config = EXACT

    value: Number
    low: Number
    high: Number

    @classmethod
    def of(cls, estimate: Estimate) -> "Interval":
        return cls(value=round(estimate.value, 4), low=round(estimate.low, 4), high=round(estimate.high, 4))


class Verification(BaseModel):
    """The result of `python -m benchmarks verify`."""

    model_config = EXACT

    schema_version: Literal[1] = 1
    name: str
    sha256: str
    """SHA-256 of the submission's manifest."""
    verdict: Literal["verified", "not reproduced", "overfitted to the public worlds"]
    seed: Annotated[int, Field(ge=0)]
    """Determines the repeated runs and the hidden worlds."""
    repeated: dict[str, list[str]]
    """By run, the fields that differ; empty if all digits are equal."""
    num_hidden_seeds: Annotated[int, Field(ge=2)]
    public_scores: dict[str, Number]
    """Mean score by scenario."""
    hidden_scores: dict[str, Number]
    """By scenario, mean gain over random in the hidden worlds, in units of the planning oracle's public gain."""
    difference: Interval
    """Mean hidden score minus mean public score, with its 95% t interval."""
    scenarios_below: list[str]
    """Scenarios with a significantly lower hidden score, at `CONFIDENCE` for all scenarios together."""
    version: str
    command: str
    commit: str
    versions: dict[str, str]
    machine: str
    date: str

    def as_json(self) -> bytes:
        """The record as JSON, with one line per field."""
        return (self.model_dump_json(indent=1) + "\n").encode()


def verdict_of(
    name: str, public: Sequence[Row], hidden: Sequence[Row], repeated: Mapping[str, list[str]]
) -> dict[str, Any]:
    """The fields of a `Verification` that are computed from rows: verdict, scores and their difference."""
    scores, other = (gains_by_scenario(rows, name, public) for rows in (public, hidden))
    below = scenarios_below(scores, other, CONFIDENCE)
    verdict = "verified"
    if any(repeated.values()):
        verdict = "not reproduced"
    elif below or difference(scores, other, CONFIDENCE).high < 0.0:
        verdict = "overfitted to the public worlds"
    return {
        "verdict": verdict,
        "repeated": dict(repeated),
        "public_scores": {name: round(float(values.mean()), 4) for name, values in scores.items()},
        "hidden_scores": {name: round(float(values.mean()), 4) for name, values in other.items()},
        "difference": Interval.of(difference(scores, other)),
        "scenarios_below": below,
    }


def read_verification(path: Path) -> Verification:
    """The record in a file; `ResultsError` if it is missing or damaged."""
    try:
        return Verification.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise ResultsError(f"{path}: {first_problem(error)}") from None
