"""A submission: a zip file with the agent's files, the rows of the agent and the references, and a manifest.

Equal content gives equal bytes: members are stored uncompressed, in alphabetical order, without timestamps.
"""

import inspect
import io
import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

import recsim_env
from agents.agent import Agent
from agents.provenance import FIELDS as PROVENANCE
from benchmarks.rows import ResultsError, Row, as_lines, first_problem, key_of, rows_in
from benchmarks.running.run import Run
from benchmarks.submission.agent_file import WEIGHTS, AgentFile, check_name, sha256
from benchmarks.suites import ONE, ZERO, Suite
from recsim_env.atomic_file import write_atomically

MANIFEST, ROWS = "manifest.json", "rows.jsonl"
MAX_BYTES = 64 * 2**20
"""Maximum size of a submission."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Url = Annotated[str, StringConstraints(max_length=200, pattern=r'^https?://[^\s()<>"\x00-\x1f\x7f]+$')]
"""An address that a Markdown link can contain as it is."""
Privilege = Literal["latent state in play", "latent state in training", "feedback on evaluation items"]


_OF_FINAL_ROWS = Row.__required_keys__ | {
    *("num_sessions", "return_mean", "return_sem", "session_length_mean", "churn", "evaluation_s"),
    *("returns", "metrics", "curves", "settings", "latent_reads", "steps_per_s", "peak_memory_mib", "run_s"),
    *PROVENANCE,
}
"""Fields of each final row of a submitted agent; those of the references have no `latent_reads`."""

STATED = ("name", "authors", "licence", "url")
"""Fields of the manifest that the authors state; all others follow from the runs."""


EXACT = ConfigDict(strict=True, extra="forbid", frozen=True)
"""Of what is published: no unknown fields, no values of other types."""


class Manifest(BaseModel):
    """Authors and provenance of a submission, and the hash of each file."""

    model_config = EXACT

    schema_version: Literal[1] = 1
    name: Text
    """Name of the agent on the leaderboard."""
    authors: Annotated[list[Text], Field(min_length=1, max_length=50)]
    licence: Text
    """Licence of the agent's file, as an SPDX identifier such as MIT."""
    url: Url | None
    """Address of a paper or a repository."""
    description: Annotated[str, StringConstraints(max_length=500)]
    """The first paragraph of the class's docstring."""
    agent: Text
    """`FILE.py:CLASS`."""
    has_weights: bool
    """Whether the agent is loaded from its weights instead of being trained."""
    privileges: list[Privilege]
    """Information that the agent reads and a deployed recommender cannot, as declared by its class or recorded."""
    suite: Text
    sizes: dict[str, int]
    """`Suite.sizes`, and `num_seeds`."""
    version: Text
    """Version of recsim_env."""
    commits: Annotated[list[Text], Field(min_length=1)]
    """Commits of the checkouts that produced the agent's rows; "-dirty" if files differed from the commit."""
    command: str
    """Command that produced the newest of these rows."""
    versions: dict[str, str]
    """Versions of Python and of the packages that the benchmark and the agent import."""
    machine: str
    date: str
    files: dict[str, str]
    """SHA-256 of each file, by name."""

    @property
    def is_privileged(self) -> bool:
        """Whether the agent reads the latent state in play."""
        return "latent state in play" in self.privileges

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, and thereby of all files."""
        return sha256(self.as_json())

    def as_json(self) -> bytes:
        """The manifest as JSON, with one line per field."""
        return (json.dumps(self.model_dump(), indent=1, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The validated content of a submission."""

    manifest: Manifest
    files: Mapping[str, bytes]
    rows: list[Row]
    """Rows of the agent and the references."""

    @property
    def own_rows(self) -> list[Row]:
        """Rows of the agent."""
        return [row for row in self.rows if row["agent"] == self.manifest.name]

    def unpacked(self, folder: Path) -> AgentFile:
        """Write the agent's files into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.manifest.files:
            if name != ROWS:
                write_atomically(folder / name, self.files[name])
        source, _, class_name = self.manifest.agent.partition(":")
        return AgentFile(
            folder=folder,
            module=source.removesuffix(".py"),
            class_name=class_name,
            has_weights=self.manifest.has_weights,
        )


def checked_manifest(**stated: Any) -> dict[str, Any]:
    """The fields `STATED` by the authors; `ResultsError` if one does not fit the schema."""
    empty = dict.fromkeys(("description", "command", "machine", "date"), "")
    texts = dict.fromkeys(("agent", "suite", "version"), "-")
    others: dict[str, Any] = {"has_weights": False, "privileges": [], "sizes": {}, "commits": ["-"], "versions": {}}
    try:
        Manifest(**{**empty, **texts, **others, **stated, "files": {}})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "author" if first["loc"][0] == "authors" else first["loc"][0]
        raise ResultsError(f"--{option} {first['input']!r}: {first['msg']}") from None
    return stated


def manifest_of(
    stated: Mapping[str, Any], suite: Suite, agent: AgentFile, runs: Sequence[Run], rows: Sequence[Row]
) -> Manifest:
    """The manifest of an agent's finished runs, still without hashes; a function of its arguments only.

    Args:
        stated: fields stated by the authors; see `checked_manifest`.
        suite: suite of the runs.
        agent: the agent's files.
        runs: runs of the agent.
        rows: rows of the agent and the references.

    Raises:
        ResultsError: the class has no docstring.
    """
    agent_class = runs[0].agent_class
    own = [row for row in rows if row["agent"] == stated["name"]]
    newest = max(own, key=lambda row: row["date"])
    return Manifest(
        **stated,
        description=description_of(agent_class),
        agent=f"{agent.source.name}:{agent.class_name}",
        has_weights=agent.has_weights,
        privileges=privileges_of(agent_class, own),
        suite=suite.name,
        sizes={**suite.sizes(), "num_seeds": suite.num_seeds},
        version=newest["version"],
        commits=sorted({row["commit"] for row in own}),
        command=newest["command"],
        versions={**newest["versions"], **agent.imported_packages()},
        machine=newest["machine"],
        date=newest["date"],
        files={},
    )


def description_of(agent_class: type[Agent]) -> str:
    """The first paragraph of the class's own docstring, in one line; `ResultsError` if it has none."""
    name, documentation = agent_class.__name__, inspect.cleandoc(agent_class.__dict__.get("__doc__") or "")
    if not documentation or documentation.startswith(f"{name}("):  # a dataclass without one gets its signature
        raise ResultsError(
            f"{agent_class.__module__}:{name}: must have a docstring, whose first paragraph is the description on the "
            "leaderboard"
        )
    return " ".join(documentation.split("\n\n")[0].split())[:500]


def privileges_of(agent_class: type[Agent], rows: Iterable[Row]) -> list[Privilege]:
    """The privileges that an agent's class declares or that its rows record."""
    reads = {place for row in rows for place in row.get("latent_reads", ())}
    privileges: list[Privilege] = []
    if agent_class.is_privileged or "play" in reads:
        privileges.append("latent state in play")
    if "training" in reads:
        privileges.append("latent state in training")
    if getattr(agent_class, "reads_evaluation_catalog", False):
        privileges.append("feedback on evaluation items")
    return privileges


def write_submission(path: Path, manifest: Manifest, agent: AgentFile, rows: Iterable[Row]) -> Manifest:
    """Write the zip atomically and return its manifest with the hashes of the files.

    Raises:
        ResultsError: the files are larger than `MAX_BYTES`.
        OSError: the zip cannot be written.
    """
    files = {**agent.files, ROWS: as_lines(rows)}
    manifest = manifest.model_copy(update={"files": {name: sha256(files[name]) for name in sorted(files)}})
    files[MANIFEST] = manifest.as_json()
    if (size := sum(map(len, files.values()))) > MAX_BYTES:
        raise ResultsError(f"{path}: {size / 2**20:.0f} MiB; the maximum is {MAX_BYTES // 2**20} MiB")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr = 3, 0o644 << 16  # the same on all systems
            archive.writestr(member, files[name])
    write_atomically(path, content.getvalue())
    return manifest


def read_submission(path: Path) -> Submission:
    """The content of a submission, whose hashes, schema and completeness are checked; no code is executed.

    Raises:
        ResultsError: the file is missing, damaged or incomplete; the message says where, in one line.
    """
    files = _members(path)
    try:
        manifest = Manifest.model_validate_json(files[MANIFEST])
    except ValidationError as error:
        raise ResultsError(f"{path}: {MANIFEST}: {first_problem(error)}") from None
    if manifest.as_json() != files[MANIFEST]:
        raise ResultsError(f"{path}: {MANIFEST}: was not written by `submit`")
    check_name(manifest.name, f"{path}: {MANIFEST}: name")
    source, _, class_name = manifest.agent.partition(":")
    expected = {source, ROWS} | ({WEIGHTS} if manifest.has_weights else set())
    if not (source.removesuffix(".py").isidentifier() and source.endswith(".py") and class_name.isidentifier()):
        raise ResultsError(f"{path}: {MANIFEST}: agent={manifest.agent!r}: must be FILE.py:CLASS")
    if set(manifest.files) != expected or set(files) != expected | {MANIFEST}:
        held, wanted = (", ".join(map(repr, sorted(names))) for names in (files, expected | {MANIFEST}))
        raise ResultsError(f"{path}: holds {held}; must hold {wanted}")
    for name, digest in manifest.files.items():
        if sha256(files[name]) != digest:
            raise ResultsError(f"{path}: {name}: was changed (its SHA-256 differs from that in the manifest)")
    submission = Submission(manifest=manifest, files=files, rows=rows_in(files[ROWS], path / ROWS))
    _check_rows(path, submission)
    return submission


def _members(path: Path) -> dict[str, bytes]:
    """Content of the members, by name; `ResultsError` unless the zip has the format of `write_submission`."""
    try:
        if path.stat().st_size > MAX_BYTES + 2**20:
            raise ResultsError(f"{path}: is larger than {MAX_BYTES // 2**20} MiB")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                if member.compress_type != zipfile.ZIP_STORED or "/" in member.filename or "\\" in member.filename:
                    raise ResultsError(f"{path}: {member.filename!r}: was not written by `submit`")
            files = {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, UnicodeError) as error:
        raise ResultsError(f"{path}: is damaged or not a zip file ({error})") from None
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror})") from None
    if len(files) < len(members) or MANIFEST not in files:
        raise ResultsError(f"{path}: is not a submission ({MANIFEST} is missing, or a name occurs twice)")
    return files


def _check_rows(path: Path, submission: Submission) -> None:
    """Raise `ResultsError` unless each agent has one successful and complete final row for each scenario and seed."""
    manifest, agents = submission.manifest, (submission.manifest.name, ZERO, ONE)
    where = f"{path}: {ROWS}"
    for row in submission.rows:
        if (row["suite"], row["version"]) != (manifest.suite, manifest.version) or row["agent"] not in agents:
            raise ResultsError(f"{where}: has a row of another agent, suite or version ({row['agent']})")
        if row["status"] != "ok":
            raise ResultsError(f"{where}: {row['agent']} failed in {row['scenario']} with seed {row['seed']}")
    final = [key_of(row) for row in submission.rows if row["is_final"]]
    scenarios = {scenario for _, scenario, _ in final}
    num_seeds = manifest.sizes.get("num_seeds", 0)
    is_whole = 0 < len(final) == len(set(final)) == len(agents) * len(scenarios) * num_seeds
    if not (is_whole and all(seed < num_seeds for _, _, seed in final)):
        raise ResultsError(f"{where}: must have one final row of {', '.join(agents)} for each scenario and seed")
    for row in submission.rows if manifest.version == recsim_env.__version__ else ():
        _check_fields(f"{where}: the row of {row['agent']} in {row['scenario']} with seed {row['seed']}", row)


def _check_fields(label: str, row: Row) -> None:
    """Raise `ResultsError` unless the row has all fields of this version, and the mean of its returns."""
    needed = _OF_FINAL_ROWS if row["is_final"] else {*PROVENANCE}
    if missing := needed - row.keys() - ({"latent_reads"} if row["agent"] in (ZERO, ONE) else set()):
        raise ResultsError(f"{label}: must have {', '.join(sorted(missing))}")
    if row["is_final"]:
        returns, mean = row["returns"], row["return_mean"]
        if len(returns) != row["num_sessions"] or abs(math.fsum(returns) / len(returns) - mean) > 1e-9:
            raise ResultsError(f"{label}: num_sessions and return_mean must be the number and the mean of returns")
