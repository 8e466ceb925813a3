"""Files that are replaced atomically, also when the disk is full or the writer is killed."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from recsim_env.atomic_file import check_writable, write_atomically


def test_a_file_is_replaced_and_no_temporary_file_remains(tmp_path):
    path = tmp_path / "rows.jsonl"
    for content in (b"old", b"new"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_reported_with_the_path_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"rows\.jsonl: cannot be written \(No space left on device\)"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a\0b", "no folder/rows.jsonl", "folder", 300 * "a"])
def test_a_path_that_cannot_be_written_is_named_in_one_line_before_and_by_a_write(tmp_path, name):
    (tmp_path / "folder").mkdir()
    for write in (check_writable, lambda path: write_atomically(path, b"new")):
        with pytest.raises(OSError, match="cannot be written") as error:
            write(tmp_path / name)
        assert str(error.value).isprintable()
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_path_that_can_be_written_is_left_as_it_is(tmp_path):
    old = tmp_path / "old"
    old.write_bytes(b"old")
    check_writable(old)
    check_writable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_bytes() == b"old"


def test_temporary_files_of_a_killed_writer_are_deleted_by_the_next(tmp_path):
    path = tmp_path / "rows.jsonl"
    program = f"""
import os, signal
from pathlib import Path
from recsim_env import atomic_file
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
atomic_file.write_atomically(Path({str(path)!r}), b"half")
"""
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False)
    assert [file.suffix for file in tmp_path.iterdir()] == [".tmp"]
    write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_of_a_running_writer_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"

    def nested(source, target):
        monkeypatch.undo()
        write_atomically(path, b"second")
        Path(source).replace(target)

    monkeypatch.setattr("os.replace", nested)
    write_atomically(path, b"first")
    assert path.read_bytes() == b"first"
