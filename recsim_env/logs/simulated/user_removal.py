"""Removal of users from a simulated log.

The rows of a user's sessions are removed from all shards, and the user's id from `users.parquet`. Each file is replaced
atomically and records the number of removed rows, so that a log is valid at any moment; to finish the work of a killed
process, repeat its call.
"""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from recsim_env.atomic_file import printable
from recsim_env.locked_folder import locked
from recsim_env.logs.simulated.log_folder import check_complete, read_manifest, read_shard, write_shard
from recsim_env.logs.simulated.logged_ids import remove_user_ids


def remove_users(path: Path | str, users: Collection[int]) -> int:
    """Remove all rows of these users, indices in the column `user`, and return the number of rows removed.

    Raises:
        FileNotFoundError: there is no log.
        ValueError: missing or damaged files, a log of a live platform, whose users cannot be replayed without each
            other, or a log in use by another process.
        OSError: the files cannot be written.
    """
    folder, manifest, num_removed = Path(path), read_manifest(path), 0
    if manifest.env_arguments.get("live_platform"):
        raise ValueError(
            f"{printable(folder)}: the log of a live platform cannot be replayed without some of its users"
        )
    check_complete(folder, manifest)
    with locked(folder):
        # The last shard first: if the process is killed, the ends of sessions are missing, and the log can be replayed.
        for number in reversed(range(len(manifest.shard_lengths))):
            shard = read_shard(folder, number, manifest)
            kept = shard.filter(~pl.col("user").is_in(list(users)))
            if len(kept) < len(shard):
                write_shard(folder, number, kept, manifest)
                num_removed += len(shard) - len(kept)
        remove_user_ids(folder, list(users))  # last: the ids of a repeated command are looked up there
    return num_removed
