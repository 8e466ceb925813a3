"""Arrays as JSON: six significant digits, lower triangles of symmetric matrices, one line a row."""

import json
from typing import Any

import numpy as np


def rounded(values: Any) -> Any:
    """A number, or nested lists of numbers, with six significant digits."""
    if np.ndim(values) == 0:
        return float(f"{float(values):.6g}")
    return [rounded(value) for value in values]


def triangle(matrix: np.ndarray) -> list[list[float]]:
    """The lower triangle of a symmetric matrix, row by row, rounded."""
    return [rounded(row[: position + 1]) for position, row in enumerate(matrix)]


def symmetric(rows: list[list[float]]) -> np.ndarray:
    """The inverse of `triangle`.

    Raises:
        ValueError, TypeError: the lengths of the rows are not 1, 2, 3, ...
    """
    matrix = np.zeros((len(rows), len(rows)))
    for position, row in enumerate(rows):
        if len(row) != position + 1:
            raise ValueError(f"row {position + 1} of a triangle has {len(row)} numbers")
        matrix[position, : position + 1] = row
        matrix[: position + 1, position] = row
    return matrix


def one_line_each(value: Any, indent: str = "") -> str:
    """JSON with one line for each inner list, for readable files and line-wise diffs."""
    if isinstance(value, dict) and any(isinstance(each, dict | list) for each in value.values()):
        inside = [f"{indent} {json.dumps(key)}: {one_line_each(each, indent + ' ')}" for key, each in value.items()]
        return "{\n" + ",\n".join(inside) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return "[\n" + ",\n".join(f"{indent} {json.dumps(each)}" for each in value) + f"\n{indent}]"
    return json.dumps(value)
