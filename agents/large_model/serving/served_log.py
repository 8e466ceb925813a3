"""The acknowledged feedback of a server's database as a log, in the format of simulated logs.

A row is a recommendation with its feedback. A server cannot know some columns: `reward_retention`, `reward_visit` and
`reward_active_day` are null, and no session is `terminated`; the last row of each is `truncated`, where the log ends.
`reward_rating` has submitted ratings alone. `reward` is the sum of the terms that are known, with the weights of the
env. `visit` is 0. `session` counts the sessions with feedback, `user` is the number of the person in the database.

Shape legend: R rows, S slots of the longest slate, M candidates of the longest list.
"""

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from agents.large_model.serving.database_file import ANSWER_COLUMNS, read_about, reading, unpacked
from recsim_env.atomic_file import printable, write_atomically
from recsim_env.logs.simulated.log_folder import MANIFEST, LogManifest, present_versions, write_shard
from recsim_env.simulation.records import NO_ITEM, REWARD_TERMS

_MAX_ROWS, _MAX_CELLS = 50_000, 20_000_000  # rows and candidates in a shard
_UNKNOWN = ("retention", "visit", "active_day")

_QUERY = """
SELECT s.number, s.person, s.agent, r.time, r.candidates, r.num_candidates, r.places, r.log_propensity, r.slate,
    r.model, r.selection, answers
FROM feedback JOIN recommendations AS r ON recommendation = r.key JOIN sessions AS s ON r.session = s.number
ORDER BY s.number, feedback.number
"""


def write_served_log(database: Path, out: Path) -> LogManifest:
    """Write the log of a database, which a server may be using, into a new folder, whole or not at all.

    Raises:
        ValueError: it is not a database of this version, or has no feedback, or the folder is not empty; one line.
        OSError: the folder cannot be written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{printable(out)}: must not exist, or be an empty folder")
    about, rows = _read(database)
    if not rows:
        raise ValueError(f"{printable(database)}: has no feedback yet")
    slate_size = max(len(row["slate"]) for row in rows) // 4
    num_candidates = max(row["num_candidates"] for row in rows)
    manifest = LogManifest(
        env_id=about["env_id"],
        env_arguments=about["env_arguments"],
        is_remade=False,
        world_fingerprint=None,
        policy=f"served: {_names(rows, 'agent')}; {_names(rows, 'selection')} slates of the large model, "
        f"version {_names(rows, 'model')}",
        epsilon=None,
        seed=0,
        num_envs=1,
        num_steps=len(rows),
        steps_per_shard=max(min(_MAX_ROWS, _MAX_CELLS // num_candidates), 1),
        slate_size=slate_size,
        num_candidates=num_candidates,
        num_action_features=0,
        versions=present_versions(),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        folder.chmod(0o755)
        for number, frame in enumerate(_frames(rows, manifest, about)):
            write_shard(folder, number, frame, manifest)
        write_atomically(folder / MANIFEST, manifest.as_json().encode())
        os.replace(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return manifest


def _names(rows: Sequence[sqlite3.Row], column: str) -> str:
    return ", ".join(sorted({row[column] for row in rows}))


def _read(database: Path) -> tuple[dict[str, Any], list[sqlite3.Row]]:
    """The description of the catalogue, and all rows."""
    with reading(database) as db:
        _, about = read_about(db)
        db.row_factory = sqlite3.Row
        return about, db.execute(_QUERY).fetchall()


def _frames(rows: Sequence[sqlite3.Row], manifest: LogManifest, about: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
    """The shards of a log."""
    numbers = np.array([row[0] for row in rows])
    is_first = np.diff(numbers, prepend=-1) != 0
    sessions = np.cumsum(is_first) - 1
    steps = np.arange(len(rows)) - np.flatnonzero(is_first)[sessions]
    is_last = np.append(is_first[1:], True)
    for first in range(0, len(rows), manifest.steps_per_shard):
        part = slice(first, first + manifest.steps_per_shard)
        columns = {"session": sessions[part], "step": steps[part], "truncated": is_last[part]}
        yield _frame(rows[part], columns, manifest, about)


def _frame(
    rows: Sequence[sqlite3.Row], columns: Mapping[str, Any], manifest: LogManifest, about: Mapping[str, Any]
) -> pl.DataFrame:
    number, slots = len(rows), manifest.slate_size
    items, actions = (np.full((number, slots), NO_ITEM) for _ in range(2))
    candidates = np.full((number, manifest.num_candidates), NO_ITEM)
    answers = np.zeros((number, slots, len(ANSWER_COLUMNS)))
    for n, row in enumerate(rows):
        slate = np.frombuffer(row["slate"], "<i4")
        items[n, : len(slate)] = slate
        actions[n, : len(slate)] = np.frombuffer(row["places"], "<i4")
        candidates[n, : row["num_candidates"]] = unpacked(row["candidates"])
        answers[n, : len(slate)] = json.loads(row["answers"])
    values = dict(zip(ANSWER_COLUMNS, np.moveaxis(answers, 2, 0), strict=True))
    terms = slate_reward_terms(values, (items != NO_ITEM).sum(1))
    known = {
        **columns,
        **values,
        **{name: [row[name] for row in rows] for name in ("time", "log_propensity")},
        "user": [row["person"] for row in rows],
        "candidates": candidates,
        "action": actions,
        "item": items,
        "reward": slate_rewards(terms, about),
        **{f"reward_{name}": term for name, term in terms.items()},
        "visit": np.zeros(number, np.int32),
        "terminated": np.zeros(number, np.bool_),
    }
    return pl.DataFrame(
        {
            name: pl.Series(known[name]).cast(kind)
            if name in known
            else pl.repeat(None, number, dtype=kind, eager=True)
            for name, kind in manifest.schema.items()
        }
    )


def slate_reward_terms(values: Mapping[str, np.ndarray], num_items: np.ndarray) -> dict[str, np.ndarray]:
    """[R] of each term that feedback [R, S] tells, and `rated`: the share of slots with a rating."""
    terms = {name: values[name].sum(1) / num_items for name in ("rating", "consumption")}
    terms |= {name: (values[name] > 0.0).sum(1) / num_items for name in ("click", "purchase")}
    return {**terms, "rated": (values["rating"] > 0.0).sum(1) / num_items}


def slate_rewards(terms: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> np.ndarray:
    """[R]: the reward of each slate from its terms, as `session.end_step`, with 0 for the terms that are unknown."""
    weights = about["reward"]
    total = sum(weights[name] * terms[name] for name in REWARD_TERMS if name not in _UNKNOWN)
    return about["reward_scale"] * (total - weights["rating"] * weights["neutral_rating"] * terms["rated"])
