"""The leaderboard of submissions as a documentation page, with a table for each version of the envs."""

import re
from pathlib import Path

from benchmarks.analysis.leaderboard import Leaderboard, Standing
from benchmarks.report.report import markdown_text
from benchmarks.report.tables import NONE, interval, number, privileges
from benchmarks.rows import ResultsError
from benchmarks.submission.published import SUBMISSIONS, Published, published, rows_of_version
from benchmarks.suites import ZERO

_HEAD = """\
<!-- Written by `python -m benchmarks leaderboard --write docs/leaderboard.md`; do not edit. -->

# Leaderboard

Verified [submissions](submitting.md) and the benchmark's own agents. For each submission, a sample of its runs was
repeated, and the agent was evaluated in hidden worlds, drawn after the submission; *hidden − public* is the
difference between the agent's mean gains over random in hidden and in public worlds, in units of the planning
oracle's public gain. Scores are interquartile means over five scenarios and three seeds, with 95% intervals: 0 is
random, 1 the planning oracle ([protocol](benchmark.md#protocol)). With three seeds, results are exploratory. Results
from different versions of the envs are never compared.
"""


def board(results: Path) -> str:
    """The page in Markdown, from the folder of committed results.

    Raises:
        ResultsError: a submission is damaged, or no version has a folder.
    """
    folders = [folder for folder in (results / SUBMISSIONS).glob("*") if folder.is_dir()]
    if not folders:
        raise ResultsError(f"{results / SUBMISSIONS}: has no folder for a version")
    newest_first = sorted(folders, key=_version_key, reverse=True)
    return "\n".join([_HEAD, *map(_of_version, newest_first)])


def _version_key(folder: Path) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in folder.name.split("."))
    except ValueError:
        raise ResultsError(f"{folder}: must be named by a version, such as 0.3.0") from None


def _of_version(folder: Path) -> str:
    submissions = {each.submission.manifest.name: each for each in published(folder)}
    leaderboard = Leaderboard(rows_of_version(folder, [*submissions.values()]))
    columns = ["agent", "authors", "privileged", "score", *leaderboard.scored_scenarios, "hidden − public", "verified"]
    lines = [
        f"## Version {folder.name}",
        "",
        f"| {' | '.join(columns)} |",
        f"|{'---|' * 4}{'---:|' * len(leaderboard.scored_scenarios)}---|---|",
    ]
    for standing in leaderboard.ranked:
        lines.append(_line(standing, leaderboard, submissions.get(standing.agent)))
    lines += ["", *(_description(each) for each in submissions.values())]
    return "\n".join(lines).rstrip() + "\n"


def _line(standing: Standing, leaderboard: Leaderboard, each: Published | None) -> str:
    scores = [number(standing.scores[name]) for name in leaderboard.scored_scenarios]
    if each is None:
        in_play = ["latent state in play"] if not standing.is_deployable and standing.agent != ZERO else []
        privileged = [*in_play, *(f"{privilege} in training" for privilege in privileges(standing.agent))]
        cells = [
            f"`{standing.agent}`",
            "recsim_env",
            ", ".join(privileged),
            interval(standing.score),
            *scores,
            NONE,
            NONE,
        ]
    else:
        manifest, record = each.submission.manifest, each.verification
        change = record.difference
        cells = [
            f"[`{manifest.name}`](#{manifest.name})",
            _literal(", ".join(manifest.authors)),
            _literal(", ".join(manifest.privileges)),
            interval(standing.score),
            *scores,
            f"{change.value:+.2f} ({change.low:+.2f} to {change.high:+.2f})",
            record.date[:10],
        ]
    return f"| {' | '.join(map(str, cells))} |"


def _literal(text: str) -> str:
    """The text as Markdown that shows it literally, also where MkDocs reads attributes in braces."""
    return re.sub(r"([{}])", r"\\\1", markdown_text(text))


def _description(each: Published) -> str:
    manifest, record = each.submission.manifest, each.verification
    place = f"../benchmarks/results/{SUBMISSIONS}/{manifest.version}"
    link = f", [{_literal(manifest.url)}]({manifest.url})" if manifest.url else ""
    learns = any(row["env_steps"] for row in each.submission.own_rows)
    training = (
        "loaded from trained weights" if manifest.has_weights else "trained in each run" if learns else "no training"
    )
    return f"""\
### {manifest.name}

{_literal(manifest.description)}

`{manifest.agent}`, {_literal(manifest.licence)} licence{link}; {training}; \
commit {", ".join(map(_literal, manifest.commits))}. \
[Submission]({place}/{each.file.name}), SHA-256 of its manifest `{manifest.digest}`; \
[verification]({place}/{each.file.stem}.verification.json) with seed {record.seed}, \
commit {_literal(record.commit)}.
"""
