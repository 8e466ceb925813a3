"""Write a log of simulated sessions.

A policy acts in an environment, and each step becomes a row in Parquet shards, with its propensity if known. The same
command resumes an interrupted log.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from recsim_env.atomic_file import printable
from recsim_env.config import check_number

_POLICY_HELP = (
    "random (a random slate of available candidates), or MODULE:NAME: an object with predict(), or a class or function "
    "that is called with the env, and with seed= if it has that argument, and returns one"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env", required=True, metavar="ID", help="such as recsim_env/Video-v0")
    parser.add_argument("--policy", required=True, help=_POLICY_HELP)
    parser.add_argument(
        "--steps", type=int, required=True, metavar="N", help="rows to write, rounded up to a multiple of --num-envs"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the log")
    parser.add_argument(
        "--num-envs", type=int, metavar="N", help="sessions side by side (default: 100, at most --steps)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of sessions and random draws (default: 0)")
    parser.add_argument(
        "--epsilon",
        type=float,
        metavar="X",
        help="probability of a random slate in place of the policy's deterministic action, so that propensities are "
        "exact (default: the policy may sample)",
    )
    parser.add_argument(
        "--split", metavar="NAME", help="items and users: all, train, validation or test (default: that of the id)"
    )
    parser.add_argument(
        "--catalog-seed", type=int, metavar="N", help="seed of the catalogue and the population (default: 0)"
    )
    parser.add_argument(
        "--observation", metavar="KIND", help="dict, flat, full or compact (default: that of the policy, or of the id)"
    )
    parser.add_argument(
        "--arguments",
        metavar="JSON",
        default="{}",
        help="""further arguments of the environment, such as '{"slate_size": 3, "world": "world.npz"}'""",
    )
    parser.add_argument(
        "--rows-per-shard", type=int, default=50_000, metavar="N", help="rows in each file (default: 50000)"
    )
    parser.add_argument("--name", metavar="TEXT", help="name of the policy in the manifest (default: --policy)")


def run(parsed: argparse.Namespace) -> int:
    import gymnasium  # here, so that --help is fast

    try:
        return _write_log(parsed)
    except (gymnasium.error.Error, ImportError, RuntimeError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    except KeyboardInterrupt:
        print("interrupted: the same command resumes the log", file=sys.stderr)
        return 130


def _write_log(parsed: argparse.Namespace) -> int:
    import gymnasium

    from recsim_env import LogWriter
    from recsim_env.logs.simulated.logging_policy import RANDOM, make_policy, named_policy

    check_number("steps", parsed.steps, 1, 10**15, int)
    check_number("seed", parsed.seed, 0, 2**63 - 1, int)
    num_envs = min(100, parsed.steps) if parsed.num_envs is None else parsed.num_envs
    named = None if parsed.policy == RANDOM else named_policy(parsed.policy)
    given = {
        "split": parsed.split,
        "catalog_seed": parsed.catalog_seed,
        "observation": parsed.observation or getattr(named, "observation", None),
    }
    arguments = {
        **_json_object(parsed.arguments),
        **{name: value for name, value in given.items() if value is not None},
    }
    if not parsed.env.startswith("recsim_env/"):
        raise ValueError(f"env={parsed.env!r}: must be an id of this package, such as recsim_env/Video-v0")
    try:
        env = gymnasium.make_vec(parsed.env, num_envs, vectorization_mode="vector_entry_point", **arguments)
    except TypeError as error:
        raise ValueError(f"--arguments: {error}") from None
    policy = RANDOM if named is None else make_policy(named, env, parsed.seed)
    writer = LogWriter(
        env,
        policy,
        parsed.out,
        num_steps=parsed.steps,
        seed=parsed.seed,
        epsilon=parsed.epsilon,
        policy_name=parsed.name or parsed.policy,
        rows_per_shard=parsed.rows_per_shard,
    )
    manifest = writer.write()
    num_shards = len(manifest.shard_lengths)
    shards = "1 shard" if num_shards == 1 else f"{num_shards} shards"
    print(f"wrote {printable(parsed.out)}: {manifest.num_steps:,} steps in {shards}, seed {manifest.seed}")
    return 0


def _json_object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--arguments={text!r}: must be a JSON object ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"--arguments={text!r}: must be a JSON object")
    return values
