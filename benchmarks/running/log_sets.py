"""Generation of the log sets: for each scenario, logs of three behaviour policies."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gymnasium

import agents
from agents.offline.behavior_policy import EPSILONS
from recsim_env import LogWriter
from recsim_env.atomic_file import write_atomically
from recsim_env.logs.simulated.log_folder import present_versions
from recsim_env.logs.simulated.log_sets import content_hash

NUM_ENVS = 100
CATALOG_SEED, SESSIONS_SEED = 7_000_003, 8_000_009
"""Seeds in the split `train` that no suite trains on; evaluation and tuning use other splits."""

POLICIES = tuple(EPSILONS)
"""`random`, `mixed` and `expert`: see `BehaviorPolicy`."""

MANIFEST = "log_sets.json"
NUM_STEPS = 50_000
"""Steps of each log with a hash in the package."""


def write_log(scenario: str, policy: str, folder: Path, num_steps: int) -> dict[str, Any]:
    """Write a log, or its missing part, and return its entry in the manifest.

    Raises:
        ValueError: the folder contains another log.
        OSError: a file cannot be written.
    """
    env: Any = gymnasium.make_vec(
        f"recsim_env/{scenario}-v0",
        NUM_ENVS,
        vectorization_mode="vector_entry_point",
        split="train",
        catalog_seed=CATALOG_SEED,
        observation="full",
    )
    behavior: Any = policy if policy == "random" else agents.make(f"{policy}-behavior", env, seed=0).learn(0)
    writer = LogWriter(env, behavior, folder, num_steps=num_steps, seed=SESSIONS_SEED, policy_name=policy)
    manifest = writer.write()
    env.close()
    files = sorted((*folder.glob("*.parquet"), *folder.glob("*.json")))
    return {
        "sha256": content_hash(folder),
        "env_id": manifest.env_id,
        "policy": manifest.policy,
        "seed": manifest.seed,
        "num_steps": manifest.num_steps,
        "num_bytes": sum(file.stat().st_size for file in files),
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }


def write_log_sets(scenarios: Iterable[str], out: Path, num_steps: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Write the logs of each scenario, and a manifest of all logs; yields name and entry of each log once written."""
    entries: dict[str, dict[str, Any]] = {}
    for scenario in scenarios:
        for policy in POLICIES:
            name = f"{scenario}/{policy}"
            entries[name] = write_log(scenario, policy, out / name, num_steps)
            write_manifest(out / MANIFEST, entries)
            yield name, entries[name]


def write_manifest(path: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Write the entries, with the versions that produced them, as JSON."""
    content = {"versions": present_versions(), "logs": entries}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
