"""Command lines: arguments from config dataclasses, errors in one line, and the terminal's output."""

import argparse
import ast
import dataclasses
import difflib
import inspect
import itertools
import math
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import gymnasium
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recsim_env.config import unknown_name

Config = TypeVar("Config")


def run_command(name: str, description: str, modules: Sequence[Any], arguments: Sequence[str]) -> int:
    """Run one of the commands of `python -m name` and return its exit status.

    Each module is a command: its name, with hyphens for underscores, its docstring as the help, its arguments by
    `add_arguments(parser)`, and a function of its name, which is called with the parsed arguments, whose attribute
    `arguments` has the unparsed ones. Expected errors end in one line and status 2.
    """
    for stream in (sys.stdout, sys.stderr):  # a lone surrogate in a name or message must not end the command
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in modules:
        command = module.__name__.rpartition(".")[2]
        summary = module.__doc__.partition("\n")[0].rstrip(".")
        own = commands.add_parser(
            command.replace("_", "-"), help=summary, description=module.__doc__, formatter_class=HelpFormatter
        )
        own.set_defaults(command=getattr(module, command))
        module.add_arguments(own)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands.choices:
        parser.error(f"command {arguments[0]!r}: {unknown_name(arguments[0], commands.choices)}")
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = commands.choices[arguments[0]]
        options = [option[2:] for option in known._option_string_actions if option.startswith("--")]
        close = difflib.get_close_matches(unknown[0].partition("=")[0].lstrip("-"), options, n=1)
        known.error(f"unrecognized arguments: {' '.join(unknown)}{f'; did you mean --{close[0]}?' if close else ''}")
    parsed.arguments = list(arguments)
    command = name.rpartition(".")[2]
    try:
        return parsed.command(parsed)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, gymnasium.error.Error) as error:
        warn(f"{command}: {one_line(error)}")
        return 2
    except SystemExit as error:  # by code of an agent of the user's
        warn(f"{command}: ended by an agent that exits ({error})")
        return 2
    except KeyboardInterrupt:
        warn(f"{command}: interrupted; finished work is kept, the same command resumes it")
        return 130


class HelpFormatter(argparse.HelpFormatter):
    """Appends "(default: ...)" where there is a default worth mentioning."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = not (action.default is None or action.default is argparse.SUPPRESS or action.default is False)
        if not has_default or action.default in ("", [], ()) or "(default" in (action.help or ""):
            return action.help
        default = " ".join(map(str, action.default)) if isinstance(action.default, list | tuple) else action.default
        return f"{action.help or ''} (default: {str(default).replace('%', '%%')})".lstrip()


def add_config_arguments(parser: Any, config: type, flags: Mapping[str, str] | None = None) -> None:
    """Add an argument for each scalar field of a config dataclass, with its range, default and docstring.

    Args:
        parser: with `HelpFormatter`.
        config: a dataclass; ranges are those of `recsim_env.config.number` and `count`. A field of the type
            `tuple[str, ...]` becomes an argument that can be repeated; dicts are left out.
        flags: names of arguments that differ from those of the fields, such as `{"num_steps": "steps"}`.
    """
    texts = _field_docstrings(config)
    for each in dataclasses.fields(config):
        default, limits = each.default, each.metadata
        flag = "--" + (flags or {}).get(each.name, each.name).replace("_", "-")
        text = texts.get(each.name, "").replace("`", "").replace("%", "%%").rstrip(".")
        options: dict[str, Any] = {"dest": each.name, "default": default, "help": text}
        if isinstance(default, bool):
            options["action"] = argparse.BooleanOptionalAction if default else "store_true"
        elif isinstance(default, tuple):
            options |= {"action": "append", "default": None, "metavar": flag[2:].upper()}
            options["help"] = f"{text}; repeat for several" + (f" (default: {', '.join(default)})" if default else "")
        elif isinstance(default, int | float):
            parse = number_in(type(default), limits.get("low", -math.inf), limits.get("high", math.inf))
            options |= {"type": parse, "metavar": "N" if isinstance(default, int) else "X"}
        elif isinstance(default, str):
            options |= {"choices": limits["allowed"]} if "allowed" in limits else {"metavar": "TEXT"}
        else:
            continue
        parser.add_argument(flag, **options)


def config_from(parsed: argparse.Namespace, config: type[Config], **others: Any) -> Config:
    """The config that arguments of `add_config_arguments` describe; `others` are fields without an argument.

    Raises:
        ValueError: values that do not go together.
    """
    values = {each.name: getattr(parsed, each.name, None) for each in dataclasses.fields(config)}  # type: ignore[arg-type]
    values = {name: tuple(x) if isinstance(x, list) else x for name, x in values.items() if x is not None}
    return config(**{**values, **others})


def _field_docstrings(config: type) -> dict[str, str]:
    """The docstring under each field of a dataclass."""
    body = ast.parse(textwrap.dedent(inspect.getsource(config))).body[0].body  # type: ignore[attr-defined]
    texts = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            value = following.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                texts[statement.target.id] = " ".join(value.value.split())  # type: ignore[union-attr]
    return texts


def number_in(kind: type, low: float, high: float = math.inf) -> Callable[[str], Any]:
    """An argparse type: a number in [low, high], `kind` int or float."""
    noun = "a whole number" if kind is int else "a number"
    bounds = f"of at least {low}" if high == math.inf else f"in [{low}, {high}]"

    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or abs(value) == math.inf:  # NaN is not in any range
            raise argparse.ArgumentTypeError(f"{text!r}: must be {noun}{'' if low == -math.inf else f' {bounds}'}")
        return value

    return parse


positive = number_in(int, 1)
"""A whole number of at least 1, as an argparse type."""

not_negative = number_in(int, 0)
"""A whole number of at least 0, as an argparse type."""


def path(text: str) -> Path:
    """A path, as an argparse type."""
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r}: must not contain a NUL character")
    return Path(text)


def one_line(error: BaseException) -> str:
    """An error's message without line breaks and control characters; its type where the message is empty."""
    is_of_file = isinstance(error, OSError) and error.filename and error.strerror
    text = f"{error.filename}: {error.strerror}" if is_of_file else str(error)  # type: ignore[attr-defined]
    text = " ".join(text.split()) or type(error).__name__
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `run_command`: rich would end the process with status 1."""
        raise BrokenPipeError


def console() -> Console:
    """The terminal; where there is none (a pipe, a log), wide enough for the tables."""
    return _Terminal() if sys.stdout.isatty() else _Terminal(width=150)


def warn(message: str) -> None:
    """Print one line on the standard error, apart from a command's results."""
    print(message, file=sys.stderr)


def progress_bar(console: Console, *columns: ProgressColumn) -> Progress:
    """A bar with the time elapsed, the time remaining, and further columns."""
    columns = (TextColumn("{task.description}"), BarColumn(), *columns, TimeElapsedColumn(), TimeRemainingColumn())
    # Tasks take from a second to minutes: the time remaining is estimated from the last half hour.
    return Progress(*columns, console=console, speed_estimate_period=1_800.0)
