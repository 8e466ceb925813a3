"""Compilation: once for all sizes, kept on disk by content, and right when processes share the files."""

import itertools
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from conftest import CHECKOUT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core import event

import recsim_env
from recsim_env.simulation.compilation import compiled, kernel
from recsim_env.simulation.normal_distribution import normal_quantile

PLAY = """
import gymnasium, numpy as np, recsim_env, sys
total = 0.0
for name, sizes in zip(sys.argv[1::2], sys.argv[2::2]):
    num_candidates, history_length = (int(size) for size in sizes.split(","))
    envs = gymnasium.make_vec(f"recsim_env/{name}-v0", 4, num_candidates=num_candidates, history_length=history_length)
    observations, _ = envs.reset(seed=0)
    for step in range(15):
        observations, rewards, *_ = envs.step(np.full(4, step % num_candidates))
        total += rewards.sum() + sum(float(part.sum()) for part in observations.values())
print(repr(float(total)))
"""


class Compilations(event.Listener):
    """Counts the kernels of this package that are compiled, or loaded from disk, by name."""

    def __init__(self):
        self.names = []

    def on_start(self, happening):
        function = happening.data["dispatcher"].py_func
        if function.__module__.startswith(("recsim_env.", "agents.")):
            self.names.append(function.__name__)

    def on_end(self, happening):
        pass


def play(*arguments: str, cwd: Path = CHECKOUT, **environment: str) -> str:
    command = [sys.executable, "-c", PLAY, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(cwd), **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=cwd).stdout


def copy_package(folder: Path) -> Path:
    shutil.copytree(CHECKOUT / "recsim_env", folder / "recsim_env", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def kernels_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.nbc")}


@given(
    scenario=st.sampled_from(["Video", "Ecommerce", "Social", "Music", "News"]),
    num_candidates=st.integers(2, 40),
    history_length=st.integers(1, 30),
    slate_size=st.integers(1, 3),
    num_creators=st.integers(1, 9),
    num_topics=st.integers(2, 12),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_size_and_no_scenario_is_compiled_a_second_time(
    scenario, num_candidates, history_length, slate_size, num_creators, num_topics
):
    def play_a_session(**arguments):
        env = gymnasium.make(f"recsim_env/{scenario}-v0", **arguments)
        env.reset(seed=0)
        env.step(env.action_space.sample())
        env.unwrapped.latent_state()

    play_a_session()
    counter = Compilations()
    event.register("numba:compile", counter)
    try:
        play_a_session(
            num_candidates=num_candidates,
            history_length=history_length,
            slate_size=min(slate_size, num_candidates),
            overrides={"catalog": {"num_creators": num_creators, "num_topics": num_topics}},
        )
    finally:
        event.unregister("numba:compile", counter)
    assert counter.names == []


def test_processes_that_compile_at_the_same_time_share_right_code(tmp_path):
    folder = str(tmp_path / "kernels")
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "NUMBA_CACHE_DIR": folder}
    started = [
        subprocess.Popen([sys.executable, "-c", PLAY, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
        for arguments in (("Music", "7,3"), ("Video", "30,9"))
    ]
    music, video = (float(process.communicate()[0]) for process in started)
    both = float(play("Video", "30,9", "Music", "7,3", NUMBA_CACHE_DIR=folder))  # from the files
    assert both == pytest.approx(music + video)
    assert not list(Path(folder).rglob("*.tmp"))


def test_changed_source_code_is_compiled_again_even_if_its_file_is_older(tmp_path):
    package = copy_package(tmp_path)
    folder = str(tmp_path / "kernels")
    before = play("Video", "5,3", cwd=package, NUMBA_CACHE_DIR=folder)
    source = package / "recsim_env" / "simulation" / "rating_scale.py"
    times = source.stat()
    source.write_text(
        source.read_text().replace("rating = p.rating_levels[0]\n", "rating = p.rating_levels[0] + 1.0\n")
    )
    os.utime(source, (times.st_atime - 1e6, times.st_mtime - 1e6))
    changed = play("Video", "5,3", cwd=package, NUMBA_CACHE_DIR=folder)
    assert changed != before
    names = [name.split(".")[3] for name in kernels_in(Path(folder))]
    assert len(names) == len(set(names))  # those of the old source code are gone


def test_files_that_changed_after_their_import_give_no_machine_code_to_later_processes(tmp_path):
    package, folder = copy_package(tmp_path), tmp_path / "kernels"
    source = package / "recsim_env" / "simulation" / "rating_scale.py"
    program = f"""
import recsim_env.simulation.simulator
from pathlib import Path
source = Path({str(source)!r})
source.write_text(source.read_text().replace("rating = p.rating_levels[0]\\n", "rating = p.rating_levels[0] + 1.0\\n"))
{PLAY.strip()}
"""
    environment = {**os.environ, "PYTHONPATH": str(package), "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", program, "Video", "5,3"]
    of_old_code = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=package)
    assert kernels_in(folder) == set()
    assert of_old_code.stdout == play("Video", "5,3")
    assert play("Video", "5,3", cwd=package, NUMBA_CACHE_DIR=str(folder)) != of_old_code.stdout


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap_with_a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(None))


def test_damaged_files_are_replaced(tmp_path):
    folder = tmp_path / "kernels"
    before = play("Video", "5,3", NUMBA_CACHE_DIR=str(folder))
    paths = list(folder.rglob("*.nbc"))
    for path, damage in zip(paths, itertools.cycle([cut, flip_a_bit, swap_with_a_pickle]), strict=False):
        damage(path)
    damaged = [path.read_bytes() for path in paths]
    assert play("Video", "5,3", NUMBA_CACHE_DIR=str(folder)) == before
    assert all(path.read_bytes() != content for path, content in zip(paths, damaged, strict=True))


def zip_package(folder: Path) -> Path:
    """A zip file with the package, from which nothing can be kept on disk."""
    copy_package(folder / "package")
    return Path(shutil.make_archive(str(folder / "package"), "zip", folder / "package"))


def block_package(folder: Path) -> Path:
    """A folder with the package, beside which nothing can be kept: a file has the name of that folder."""
    copy_package(folder)
    (folder / "recsim_env" / "__pycache__").write_text("")
    return folder


@pytest.mark.parametrize("place", [zip_package, block_package])
def test_the_package_works_where_neither_its_folder_nor_a_home_can_be_written(tmp_path, place):
    (tmp_path / "file").write_text("")
    package, home = place(tmp_path), tmp_path / "file" / "home"
    kept = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "RECSIM_CACHE", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in kept}
    environment |= {"HOME": str(home), "PYTHONPATH": str(package)}
    program = f"import recsim_env; assert recsim_env.__file__.startswith({str(package)!r}); {PLAY.strip()}"
    command = [sys.executable, "-c", program, "Ratings", "5,3"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout == play("Ratings", "5,3")
    assert not list(tmp_path.rglob("*.nbc"))


@pytest.mark.parametrize("folder", ["", "~/kernels"])
def test_a_user_without_a_home_gets_no_folder_of_that_name(tmp_path, folder):
    program = "from recsim_env.simulation.compilation import _cache_folder; print(_cache_folder('recsim_env'))"
    package = block_package(tmp_path)
    environment = {"PYTHONPATH": str(package), "NUMBA_CACHE_DIR": folder, "HOME": "~"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert ran.stdout.strip() == "None", ran.stderr
    assert not (tmp_path / "~").exists()


def test_compiled_functions_can_be_called_from_python_and_from_other_compiled_code():
    @njit
    def doubled(p):
        return 2.0 * normal_quantile(p)

    assert normal_quantile(0.975) == pytest.approx(1.959964, abs=1e-6)
    assert doubled(0.975) == pytest.approx(3.919928, abs=1e-6)


def test_kernels_call_compiled_functions_at_any_depth():
    @compiled
    def squared(x):
        return x * x

    @compiled
    def shifted(x):
        return squared(x) + normal_quantile(0.5)

    def fill(out):
        for k in range(len(out)):
            out[k] = shifted(k) + squared(k)

    out = np.zeros(4)
    kernel(fill, is_kept=False)(out)
    assert out.tolist() == [0.0, 2.0, 8.0, 18.0]


def test_importing_the_package_compiles_nothing():
    program = "import recsim_env, sys; print('numba' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(recsim_env.__file__).parents[1])}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
