"""The large model's commands: `train`, `evaluate`, `recommend`, `profile`, `latency`; `COMMAND --help` says more."""

import sys

from agents.large_model.commands import evaluate, latency, profile, recommend, train
from agents.terminal import run_command

_ABOUT = "A Transformer over what a person was shown and answered, trained by reinforcement."


def main(arguments: list[str]) -> int:
    commands = (train, evaluate, recommend, profile, latency)
    return run_command("agents.large_model", _ABOUT, commands, arguments, (ValueError, OSError))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
