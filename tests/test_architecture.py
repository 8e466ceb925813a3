"""Which module may import which (the contracts in pyproject.toml), and what importing the package loads."""

import subprocess
import sys
from pathlib import Path

from conftest import CHECKOUT


def test_every_import_keeps_the_contracts():
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint, "--no-cache"], capture_output=True, text=True, cwd=CHECKOUT)
    assert run.returncode == 0, run.stdout


def test_using_an_environment_loads_no_learning_library():
    program = (
        "import sys, gymnasium, recsim_env;"
        "env = gymnasium.make('recsim_env/Video-v0'); env.reset(seed=0); env.step(0);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    loaded = set(run.stdout.split())
    assert {"recsim_env", "gymnasium", "numpy"} <= loaded
    assert not loaded & {"torch", "stable_baselines3", "matplotlib", "pandas", "rich", "agents", "benchmarks"}


def test_the_package_is_imported_from_any_folder(tmp_path):
    program = "import recsim_env; print(recsim_env.__version__)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.strip()


def test_every_folder_of_modules_is_in_the_wheel():
    folders = {module.parent for module in (CHECKOUT / "recsim_env").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
