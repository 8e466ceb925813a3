"""The large model's commands: `train`, `evaluate`, `recommend`, `profile`, `latency`; see `COMMAND --help`."""

import sys

from agents.large_model.commands import evaluate, latency, profile, recommend, train
from agents.terminal import run_command

_ABOUT = "A Transformer over the items shown and their feedback, trained by supervision, distillation and PPO."


def main(arguments: list[str]) -> int:
    commands = (train, evaluate, recommend, profile, latency)
    return run_command("agents.large_model", _ABOUT, commands, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
