"""Dataclasses of arrays, text and numbers as JSON with six significant digits, one line for each row of a matrix."""

import dataclasses
import json
import typing
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def as_text(value: Any) -> str:
    """The JSON of a dataclass, with one line for each inner list: readable, and compared line by line."""
    return _lines(_content(value)) + "\n"


def from_content(cls: type[T], content: dict[str, Any]) -> T:
    """The dataclass of a parsed JSON.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: the content is not that of such a dataclass.
    """
    types = typing.get_type_hints(cls)
    return cls(**{name: _value(types[name], content[name]) for name in types})


def _content(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _content(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _content(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        return [_content(each) for each in value]
    return float(f"{float(value):.6g}") if isinstance(value, (float, np.floating)) else value


def _value(kind: Any, content: Any) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return from_content(kind, content)
    if kind is np.ndarray:
        return np.array(content, float)
    if typing.get_origin(kind) is tuple:
        return tuple(_value(typing.get_args(kind)[0], each) for each in content)
    if typing.get_origin(kind) is dict:
        return {str(key): float(each) for key, each in content.items()}
    return kind(content)


def _lines(value: Any, indent: str = "") -> str:
    if isinstance(value, dict):
        inside = [f"{indent} {json.dumps(key)}: {_lines(each, indent + ' ')}" for key, each in value.items()]
        return "{\n" + ",\n".join(inside) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(f"{indent} {json.dumps(each)}" for each in value) + f"\n{indent}]"
    return json.dumps(value)
