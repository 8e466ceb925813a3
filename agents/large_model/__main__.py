"""The large model's commands: `train`, `evaluate`, `recommend`, `profile`; `COMMAND --help` says more."""

import argparse
import sys

from agents.large_model.commands import evaluate, profile, recommend, train

_COMMANDS = (train, evaluate, recommend, profile)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m agents.large_model",
        description="A Transformer over what a person was shown and answered, trained by reinforcement.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_to(commands)
    parsed = parser.parse_args(arguments)
    try:
        return parsed.command(parsed)
    except (ValueError, OSError) as error:
        print(f"large_model: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("large_model: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
