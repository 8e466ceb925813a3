"""What commands share of the terminal: its width, a progress bar, and how numbers are read from arguments."""

import argparse
import ast
import dataclasses
import inspect
import itertools
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recsim_env.config import check_number

Config = TypeVar("Config")


def run_command(
    name: str,
    description: str,
    modules: Sequence[Any],
    arguments: Sequence[str],
    refusals: tuple[type[Exception], ...],
) -> int:
    """Run one of the commands of `python -m name`, which modules add by `add_to`; its exit status.

    An error that is one of the `refusals` ends in one line and status 2.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in modules:
        module.add_to(commands)
    parsed = parser.parse_args(arguments)
    try:
        return parsed.command(parsed)
    except refusals as error:
        print(f"{name.split('.')[-1]}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name.split('.')[-1]}: stopped; what is finished is kept, the same command goes on", file=sys.stderr)
        return 130


def console() -> Console:
    """The terminal; where there is none (a pipe, a log), wide enough for the tables."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def warn(words: str) -> None:
    """Say something in one line on the standard error, where it is in nobody's way who reads the output."""
    print(words, file=sys.stderr)


def progress_bar(on: Console, *more: ProgressColumn) -> Progress:
    """A bar with the time taken and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), *more, TimeElapsedColumn(), TimeRemainingColumn())
    # Cells take from a second to minutes: the speed that tells the time left is that of the last half hour.
    return Progress(*columns, console=on, speed_estimate_period=1_800.0)


def positive(text: str) -> int:
    """A whole number of at least 1, as an argparse type."""
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """A whole number of at least 0, as an argparse type."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text.replace("_", ""))
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least {least}")
    return number


def add_config_arguments(
    parser: Any, config: type, *, flags: Mapping[str, str] | None = None, defaults: Mapping[str, Any] | None = None
) -> None:
    """Add an argument for each scalar field of a config dataclass, with its range, default and docstring.

    Args:
        parser: an `argparse` parser or group.
        config: a dataclass; ranges are those of `recsim_env.config.number` and `count`. A field of the type
            `tuple[str, ...]` becomes an argument that can be repeated; dicts are left out.
        flags: names of arguments that differ from those of the fields, such as `{"num_steps": "steps"}`.
        defaults: values that differ from the defaults of the fields.
    """
    texts = _field_docstrings(config)
    for each in dataclasses.fields(config):
        default = (defaults or {}).get(each.name, each.default)
        flag = "--" + (flags or {}).get(each.name, each.name).replace("_", "-")
        text = texts.get(each.name, "").replace("`", "").replace("%", "%%").rstrip(".")
        shown = "" if default is False or default in ("", (), None) else f" (default: {default})"
        options: dict[str, Any] = {"dest": each.name, "default": default, "help": text + shown}
        if isinstance(default, bool):
            options["action"] = argparse.BooleanOptionalAction if default else "store_true"
        elif isinstance(default, tuple):
            options |= {"action": "append", "default": None, "metavar": flag[2:].upper()}
            options["help"] = f"{text}; repeat for several" + (f" (default: {', '.join(default)})" if default else "")
        elif isinstance(default, int | float | str):
            options |= {"type": _parser_of(flag, type(default), each.metadata), "metavar": _metavar(type(default))}
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


def _parser_of(flag: str, kind: type, limits: Mapping[str, Any]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text.replace("_", "")) if kind is not str else text
            if "low" in limits:
                check_number(flag, value, limits["low"], limits["high"], limits["kind"])
        except ValueError as error:
            reason = str(error).partition(": ")[2] if "low" in limits and "must be" in str(error) else _noun(kind)
            raise argparse.ArgumentTypeError(f"{text!r}: {reason}") from None
        return value

    return parse


def _noun(kind: type) -> str:
    return "must be a whole number" if kind is int else "must be a number"


def _metavar(kind: type) -> str:
    return {int: "N", float: "X"}.get(kind, "TEXT")


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
