"""Delete people from a log, and from a sharded model that has learned from it.

The log is rewritten without their rows, the shards that held them are trained again, and the model is replaced. It is
then, bit for bit, the model of a log in which they never were. An interrupted command is finished by the same one; if
the ids are no longer in the log, by one without --person, which trains the shards whose people have changed. The file
deletions.jsonl in the folder of the model records the work, without ids.
"""

import argparse
import dataclasses
import time
from datetime import UTC, datetime

from agents.private.commands.model_folder import add_folder_arguments, model_file, record_deletion
from agents.terminal import warn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_folder_arguments(parser)
    parser.add_argument(
        "--person",
        action="append",
        default=[],
        metavar="ID",
        help="id of a user in the ratings log behind the log, otherwise the user's number; repeat for several",
    )


def forget(parsed: argparse.Namespace) -> int:
    from agents.private.sharded_reward_model import ShardedRewardModel
    from recsim_env.atomic_file import check_writable
    from recsim_env.locked_folder import locked
    from recsim_env.logs.simulated.logged_ids import users_with_ids

    file = model_file(parsed.model)
    model = ShardedRewardModel.load(file)
    people = set(users_with_ids(parsed.log, parsed.person))
    with locked(parsed.model):
        check_writable(file)
        start = time.perf_counter()
        deletion = model.forget(parsed.log, people)
        model.save(file)
        seconds = time.perf_counter() - start
        now = datetime.now(UTC).isoformat(timespec="seconds")
        record_deletion(parsed.model, {**dataclasses.asdict(deletion), "seconds": round(seconds, 3), "date": now})
    noun = "person" if deletion.num_people == 1 else "people"
    if people and not deletion.num_rows:
        warn(f"{parsed.log}: has no rows of these users")
    print(f"deleted {deletion.num_people} {noun}: {deletion.num_rows:,} rows of {parsed.log}")
    share = deletion.num_updates / max(deletion.num_updates_of_all, 1)
    print(
        f"retrained {len(deletion.shards)} of {model.num_shards} shards: {deletion.num_updates:,} of "
        f"{deletion.num_updates_of_all:,} gradient steps ({share:.0%}), {seconds:.1f} s"
    )
    return 0
