"""Commands of the large model: see `python -m agents.large_model COMMAND --help`."""

import sys

from agents.large_model.commands import (
    distil,
    evaluate,
    export,
    latency,
    learn_online,
    pretrain,
    profile,
    recommend,
    rollback,
    serve,
    served_log,
    train,
    versions,
)
from agents.terminal import run_command

_ABOUT = "A Transformer over the items shown and their feedback, trained by supervision, distillation and PPO."


def main(arguments: list[str]) -> int:
    serving = (recommend, export, serve, learn_online, versions, rollback, served_log)
    commands = (train, pretrain, distil, evaluate, *serving, profile, latency)
    return run_command("agents.large_model", _ABOUT, commands, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
