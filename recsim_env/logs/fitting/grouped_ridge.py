"""Ridge regressions for many groups of rows, and dot products of pairs: the costly parts of factorisations.

Shape legend: N rows, G groups, M others, D factors, C columns of a design.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from recsim_env.simulation.compilation import kernel

_MIN_PARALLEL_ROWS = 1_000_000


class Grouping(NamedTuple):
    """The rows of each group."""

    order: np.ndarray
    """[N] int64: the rows, sorted by group."""
    ends: np.ndarray
    """[G + 1] int64: the rows of group g are `order[ends[g]:ends[g + 1]]`."""


class Design(NamedTuple):
    """A design matrix whose row n is (first[n], *table[others[n]]): one column of its own, and a row of factors."""

    first: np.ndarray | None
    """[N] float64; None for no such column."""
    others: np.ndarray
    """[N] int64 in 0..M-1."""
    table: np.ndarray
    """[M, D] float64."""

    @property
    def num_columns(self) -> int:
        """C."""
        return (self.first is not None) + self.table.shape[1]


def rows_by_group(groups: np.ndarray, num_groups: int) -> Grouping:
    """The rows of each group, from [N] group indices in 0..num_groups-1."""
    counts = np.bincount(groups, minlength=num_groups)
    return Grouping(np.argsort(groups, kind="stable"), np.r_[0, np.cumsum(counts)])


def ridge_by_group(
    groups: Grouping,
    design: Design,
    target: np.ndarray,
    precision: np.ndarray,
    prior_mean: np.ndarray | None = None,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """[G, C] float64: coefficients of a ridge regression of `target` [N] on the design, one for each group.

    They are the posterior mean of a normal linear model with unit noise, prior `precision` [C] (the ridge, positive)
    and `prior_mean` [G, C] (0 by default); with a `generator`, a draw from the posterior
    N(mean, (X'X + diag(precision))^-1).
    """
    num_groups, num_columns = len(groups.ends) - 1, design.num_columns
    shape = (num_groups, num_columns)
    moment = np.zeros(shape) if prior_mean is None else precision * prior_mean
    noise = np.zeros(shape) if generator is None else generator.standard_normal(shape)
    out = np.empty(shape)
    table = np.ascontiguousarray(design.table, np.float64)
    first_column = np.zeros(0) if design.first is None else design.first
    arguments = groups.order, first_column, design.others, table, target, np.ascontiguousarray(precision)

    def solve(first: int, end: int) -> None:
        part = slice(first, end)
        _solve(groups.ends[first : end + 1], *arguments, moment[part], noise[part], out[part])

    # Groups are independent, so the result does not depend on the number of threads.
    num_threads = (
        len(os.sched_getaffinity(0)) if len(target) >= _MIN_PARALLEL_ROWS and hasattr(os, "sched_getaffinity") else 1
    )
    if num_threads == 1:
        solve(0, num_groups)
        return out
    shares = np.searchsorted(groups.ends, np.linspace(0, len(target), 4 * num_threads + 1))
    shares[0], shares[-1] = 0, num_groups
    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(solve, shares[:-1], shares[1:]))
    return out


def pair_products(users: np.ndarray, items: np.ndarray, of_users: np.ndarray, of_items: np.ndarray) -> np.ndarray:
    """[N] float64: dot product of the [U, D] and [I, D] factors of each pair."""
    out = np.empty(len(users))
    _multiply(users, items, np.ascontiguousarray(of_users), np.ascontiguousarray(of_items), out)
    return out


@kernel
def _solve(ends, order, first, others, table, target, precision, moment, noise, out):
    """Fill `out` [G, C] by Cholesky decompositions L L' of X'X + diag(precision): L' b = L^-1 moment + noise."""
    num_columns, num_factors = moment.shape[1], table.shape[1]
    offset = num_columns - num_factors
    gram, rows, values = np.empty((num_columns, num_columns)), np.empty((4, num_columns)), np.empty(4)
    for g in range(len(ends) - 1):
        for a in range(num_columns):
            out[g, a] = moment[g, a]
            for b in range(a):
                gram[a, b] = 0.0
            gram[a, a] = precision[a]
        for start in range(ends[g], ends[g + 1], 4):
            for j in range(4):  # four rows at a time, to load and store the matrix a quarter as often
                if start + j < ends[g + 1]:
                    n = order[start + j]
                    other, values[j] = others[n], target[n]
                    if offset == 1:
                        rows[j, 0] = first[n]
                    for d in range(num_factors):
                        rows[j, offset + d] = table[other, d]
                else:
                    values[j] = 0.0
                    for a in range(num_columns):
                        rows[j, a] = 0.0
            for a in range(num_columns):
                r0, r1, r2, r3 = rows[0, a], rows[1, a], rows[2, a], rows[3, a]
                out[g, a] += r0 * values[0] + r1 * values[1] + r2 * values[2] + r3 * values[3]
                for b in range(a + 1):
                    gram[a, b] += r0 * rows[0, b] + r1 * rows[1, b] + r2 * rows[2, b] + r3 * rows[3, b]
        for a in range(num_columns):
            for b in range(a + 1):
                total = gram[a, b]
                for c in range(b):
                    total -= gram[a, c] * gram[b, c]
                gram[a, b] = np.sqrt(total) if a == b else total / gram[b, b]
        for a in range(num_columns):
            total = out[g, a]
            for b in range(a):
                total -= gram[a, b] * out[g, b]
            out[g, a] = total / gram[a, a]
        for a in range(num_columns):
            out[g, a] += noise[g, a]
        for a in range(num_columns - 1, -1, -1):
            total = out[g, a]
            for b in range(a + 1, num_columns):
                total -= gram[b, a] * out[g, b]
            out[g, a] = total / gram[a, a]


@kernel
def _multiply(users, items, of_users, of_items, out):
    for n in range(len(users)):
        total = 0.0
        for d in range(of_users.shape[1]):
            total += of_users[users[n], d] * of_items[items[n], d]
        out[n] = total
