"""Compiled code on the disk: stale entries are deleted, and no process runs code compiled for other records."""

import os
import subprocess
import sys

import pytest
from conftest import CHECKOUT

from recsim_env.simulation.compiled_cache import drop_stale_cache


def make_package(folder, **ages):
    """A package whose files were changed so many seconds ago."""
    (folder / "__pycache__").mkdir()
    for name, age in ages.items():
        suffix = ".py" if name.startswith("source") else ".nbi"
        path = folder / f"{name}{suffix}" if suffix == ".py" else folder / "__pycache__" / f"{name}{suffix}"
        path.write_text("")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))


def compiled_in(folder) -> set[str]:
    return {path.stem for path in (folder / "__pycache__").glob("*.nbi")}


def test_cache_entries_older_than_any_source_file_are_dropped(tmp_path):
    make_package(tmp_path, source_a=50, source_b=20, stale=30, fresh=10)
    drop_stale_cache(tmp_path)
    assert compiled_in(tmp_path) == {"fresh"}
    drop_stale_cache(tmp_path)
    assert compiled_in(tmp_path) == {"fresh"}


def test_a_package_without_compiled_code_is_left_alone(tmp_path):
    (tmp_path / "source.py").write_text("")
    drop_stale_cache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["source.py"]


RECORDS = """
import sys
import numpy as np
from numba import njit
{fix}

@njit(cache=True)
def worth(record, other):  # long enough not to become a part of what calls it
    found = 0.0
    for n in range(len(record.values)):
        for m in range(len(other.values)):
            if record.values[n] > other.values[m]:
                found += np.exp(-record.values[n]) * np.tanh(other.values[m])
            elif record.values[n] < other.values[m]:
                found -= np.log1p(other.values[m]) * np.cosh(record.values[n])
            else:
                found += np.sqrt(record.values[n]) + np.arctan(other.values[m])
    return found * 0.0 + record.more

@njit(cache=True)
def total(records):
    found = 0.0
    for n in range(len(records)):
        found += worth(records[n], records[0]) + worth(records[0], records[n]) - worth(records[1], records[n])
    return found

def of(size):
    records = np.zeros(3, np.dtype([("values", "f8", (size,)), ("more", "f8")], align=True))
    records["more"] = size
    return total(records)

print(*(of(int(size)) for size in sys.argv[1:]))
"""
"""What a scenario is to the user model: one program, records of another size."""


@pytest.mark.parametrize("is_mended", [True, False])
def test_processes_that_compiled_different_records_first_share_a_cache(tmp_path, is_mended):
    program = tmp_path / "records.py"
    program.write_text(RECORDS.format(fix="import recsim_env.simulation" if is_mended else ""))
    folders = {"PYTHONPATH": str(CHECKOUT), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def said(*sizes: str) -> list[float]:
        command = [sys.executable, str(program), *sizes]
        ran = subprocess.run(command, env={**os.environ, **folders}, capture_output=True, text=True, check=True)
        return [float(each) for each in ran.stdout.split()]

    assert said("2") == [6.0]
    assert said("5") == [15.0]
    if is_mended:
        assert said("2", "5") == [6.0, 15.0]
        assert said("5", "2") == [15.0, 6.0]
    else:  # if this fails, Numba has mended it, and `make_names_unique` can go
        assert said("2", "5") != [6.0, 15.0]
