"""The folder of a model: its file, and a record of its deletions."""

import argparse
import json
from pathlib import Path
from typing import Any

from agents.terminal import path
from recsim_env.atomic_file import write_atomically

_MODEL, _DELETIONS = "model.safetensors", "deletions.jsonl"


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=path, required=True, metavar="DIR", help="folder of the model")
    parser.add_argument("--log", type=path, required=True, metavar="DIR", help="folder of the log that it learns from")


def model_file(folder: Path) -> Path:
    """The model in the folder."""
    return folder / _MODEL


def load_model(folder: Path) -> Any:
    """The model in the folder, whichever of the two classes it has; `ValueError` if it is missing or damaged."""
    from agents.agent import path_of
    from agents.private.private_reward_model import PrivateRewardModel
    from agents.private.sharded_reward_model import ShardedRewardModel
    from agents.saved_tensors import saved_by

    file = model_file(folder)
    is_private = saved_by(file) == path_of(PrivateRewardModel)
    return PrivateRewardModel.load(file) if is_private else ShardedRewardModel.load(file)


def record_deletion(folder: Path, deletion: dict[str, Any]) -> None:
    """Add a line to the record of deletions."""
    file = folder / _DELETIONS
    before = file.read_bytes() if file.is_file() else b""
    write_atomically(file, before + (json.dumps(deletion) + "\n").encode())
