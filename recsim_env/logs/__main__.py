"""The command line: describe a ratings log, fit a world to it, check the fit; write a simulated log."""

import argparse
import sys
from collections.abc import Sequence

from recsim_env.config import unknown_name
from recsim_env.logs.commands import check, describe, fit, statistics, write
from recsim_env.logs.reading.log_files import WHERE_TO_GET_DATA

_COMMANDS = (describe, fit, check, statistics, write)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 success, 1 `check` found a difference or `describe` a problem, 2
    invalid input."""
    parser = argparse.ArgumentParser(
        prog="python -m recsim_env.logs",
        description="Fit worlds to real ratings logs, and write logs of simulated sessions.",
        epilog=f"{WHERE_TO_GET_DATA[0].upper()}{WHERE_TO_GET_DATA[1:]}.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in _COMMANDS:
        summary = str(module.__doc__).partition("\n")[0].rstrip(".")
        command = commands.add_parser(module.__name__.rpartition(".")[2], help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands.choices:
        parser.error(f"command {arguments[0]!r}: {unknown_name(arguments[0], commands.choices)}")
    parsed = parser.parse_args(arguments)
    try:
        return parsed.run(parsed)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {_with_option(str(error), parsed)}", file=sys.stderr)
        return 2


def _with_option(message: str, parsed: argparse.Namespace) -> str:
    """The message with the option that was typed, `--num-envs=0`, in place of the argument's name, `num_envs=0`."""
    name, equals, rest = message.partition("=")
    return f"--{name.replace('_', '-')}={rest}" if equals and name in vars(parsed) else message


if __name__ == "__main__":
    sys.exit(main())
