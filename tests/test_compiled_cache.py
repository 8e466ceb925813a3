"""Compiled code that is older than the sources it was made from is thrown away."""

import os

from recsim_env.compiled_cache import drop_stale_cache


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


def test_what_was_compiled_before_the_last_change_of_any_source_is_dropped(tmp_path):
    make_package(tmp_path, source_a=50, source_b=20, stale=30, fresh=10)
    drop_stale_cache(tmp_path)
    assert compiled_in(tmp_path) == {"fresh"}
    drop_stale_cache(tmp_path)
    assert compiled_in(tmp_path) == {"fresh"}


def test_a_package_without_compiled_code_is_left_alone(tmp_path):
    (tmp_path / "source.py").write_text("")
    drop_stale_cache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["source.py"]
