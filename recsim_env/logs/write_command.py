"""The command `write`: a log of simulated sessions."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from recsim_env.atomic_file import printable
from recsim_env.config import check_number

_POLICY_HELP = (
    "random (available candidates, at random), or MODULE:NAME: a class or a function that is called with the env (and "
    "with seed=, if it has that argument) and returns an object with predict(), or such an object"
)


def add_write_command(commands: Any) -> None:
    """Add the command to the subparsers of `python -m recsim_env.logs`."""
    write = commands.add_parser(
        "write",
        help="write a log of simulated sessions",
        description="Let a policy play in an environment, and write a row for each step as Parquet shards, with "
        "propensities where they are known. The same command goes on with an interrupted log.",
    )
    write.add_argument("--env", required=True, metavar="ID", help="such as recsim_env/Video-v0")
    write.add_argument("--policy", required=True, help=_POLICY_HELP)
    write.add_argument("--steps", type=int, required=True, metavar="N", help="rows to write, rounded up to whole steps")
    write.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the log")
    write.add_argument("--num-envs", type=int, metavar="N", help="sessions side by side (default 100, at most --steps)")
    write.add_argument("--seed", type=int, default=0, help="of sessions and random draws (default 0)")
    write.add_argument(
        "--epsilon",
        type=float,
        metavar="X",
        help="show a random slate with this probability, and what the policy shows without sampling otherwise; then "
        "propensities are known exactly (default: as the policy plays)",
    )
    write.add_argument("--split", metavar="NAME", help="items and users: all, train, validation or test (default all)")
    write.add_argument("--catalog-seed", type=int, metavar="N", help="of the catalogue and the population (default 0)")
    write.add_argument(
        "--observation", metavar="KIND", help="dict, flat, full or compact (default: as the policy reads)"
    )
    write.add_argument(
        "--arguments",
        metavar="JSON",
        default="{}",
        help="""further arguments of the environment, such as '{"slate_size": 3, "world": "world.npz"}'""",
    )
    write.add_argument("--rows-per-shard", type=int, default=50_000, metavar="N", help="rows of a file (default 50000)")
    write.add_argument("--name", metavar="TEXT", help="name of the policy in the manifest (default: as in --policy)")
    write.set_defaults(run=_write)


def _write(options: argparse.Namespace) -> int:
    import gymnasium  # here, so that --help is fast

    try:
        return _write_log(options)
    except (gymnasium.error.Error, ImportError, RuntimeError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    except KeyboardInterrupt:
        print("interrupted: the same command goes on with the log", file=sys.stderr)
        return 130


def _write_log(options: argparse.Namespace) -> int:
    import gymnasium

    from recsim_env import LogWriter
    from recsim_env.logs.logging_policy import RANDOM, make_policy, named_policy

    check_number("steps", options.steps, 1, 10**15, int)
    check_number("seed", options.seed, 0, 2**63 - 1, int)
    num_envs = min(100, options.steps) if options.num_envs is None else options.num_envs
    named = None if options.policy == RANDOM else named_policy(options.policy)
    given = {
        "split": options.split,
        "catalog_seed": options.catalog_seed,
        "observation": options.observation or getattr(named, "observation", None),
    }
    arguments = {**_parsed(options.arguments), **{name: value for name, value in given.items() if value is not None}}
    if not options.env.startswith("recsim_env/"):
        raise ValueError(f"env={options.env!r}: must be an id of this package, such as recsim_env/Video-v0")
    try:
        env = gymnasium.make_vec(options.env, num_envs, vectorization_mode="vector_entry_point", **arguments)
    except TypeError as error:
        raise ValueError(f"--arguments: {error}") from None
    policy = RANDOM if named is None else make_policy(named, env, options.seed)
    writer = LogWriter(
        env,
        policy,
        options.out,
        num_steps=options.steps,
        seed=options.seed,
        epsilon=options.epsilon,
        policy_name=options.name or options.policy,
        rows_per_shard=options.rows_per_shard,
    )
    manifest = writer.write()
    num_shards = len(manifest.shard_lengths)
    shards = "1 shard" if num_shards == 1 else f"{num_shards} shards"
    print(f"wrote {printable(options.out)}: {manifest.num_steps:,} steps in {shards}, seed {manifest.seed}")
    return 0


def _parsed(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--arguments={text!r}: must be a JSON object ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"--arguments={text!r}: must be a JSON object")
    return values
