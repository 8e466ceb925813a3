"""Who may import whom: benchmarks -> agents -> recsim_env, and no heavy library in the simulator."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHECKOUT

LAYERS = ("benchmarks", "agents", "recsim_env")  # each may import those to its right
SB3_ADAPTER = CHECKOUT / "recsim_env" / "envs" / "sb3.py"
MAY_IMPORT = {
    SB3_ADAPTER: {"stable_baselines3"},
    CHECKOUT / "recsim_env" / "envs" / "session_figure.py": {"matplotlib"},
}
"""The only files of the simulator that need more than its dependencies; none of them is imported unless asked for."""

SOURCES = [path for layer in LAYERS for path in sorted((CHECKOUT / layer).rglob("*.py"))]


def imported_by(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(path.relative_to(CHECKOUT).parts[0] if node.level else (node.module or "").split(".")[0])
    return names


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_layers_import_downwards_only(path):
    layer = LAYERS.index(path.relative_to(CHECKOUT).parts[0])
    assert not imported_by(path) & set(LAYERS[:layer])


@pytest.mark.parametrize("path", sorted((CHECKOUT / "recsim_env").rglob("*.py")), ids=name_of)
def test_the_simulator_needs_neither_torch_nor_sb3_nor_what_only_benchmarks_need(path):
    heavy = {"torch", "stable_baselines3", "scipy", "matplotlib", "rich", "pandas", "sb3_contrib", "tests"}
    assert imported_by(path) & heavy == MAY_IMPORT.get(path, set())


def test_the_architecture_test_sees_imports_of_every_form():
    assert {"gymnasium", "numpy", "stable_baselines3", "recsim_env"} <= imported_by(SB3_ADAPTER)
    assert len(SOURCES) > 15


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_are_named_for_what_they_hold(path):
    vague = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "base", "core"}
    assert not vague & {part.removesuffix(".py") for part in path.relative_to(CHECKOUT).parts}


def test_importing_and_playing_loads_no_learning_library():
    program = (
        "import sys, gymnasium, recsim_env;"
        "env = gymnasium.make('recsim_env/Video-v0'); env.reset(seed=0); env.step(0);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    loaded = set(ran.stdout.split())
    assert {"recsim_env", "gymnasium", "numpy"} <= loaded
    assert not loaded & {"torch", "stable_baselines3", "matplotlib", "pandas", "rich", "agents", "benchmarks"}


def test_the_package_is_imported_from_any_folder(tmp_path):
    program = "import recsim_env; print(recsim_env.__version__)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout.strip()
