"""`python -m recsim_env.logs write`: it writes what the class writes, survives being killed, and explains errors."""

import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from written_logs import FirstCandidates, contents, make_env, write

from recsim_env.logs.__main__ import main

_COMMAND = ["--env", "recsim_env/Video-v0", "--policy", "random", "--steps", "100000", "--rows-per-shard", "4000"]


def command(*arguments):
    return [sys.executable, "-m", "recsim_env.logs", "write", *_COMMAND, *map(str, arguments)]


def test_a_writer_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    whole, killed, generator = tmp_path / "whole", tmp_path / "killed", np.random.default_rng(0)
    subprocess.run(command("--out", whole), check=True, capture_output=True)
    num_kills = 0
    for num_shards in (1, 8, 16):  # killed a little after it has written so many
        process = subprocess.Popen(command("--out", killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(killed.glob("events-*.parquet"))) < num_shards:
            time.sleep(0.001)
        time.sleep(generator.uniform(0.0, 0.05))
        process.kill()
        num_kills += process.wait() == -signal.SIGKILL
        for file in killed.glob("events-*.parquet"):
            assert file.read_bytes() == (whole / file.name).read_bytes()
    subprocess.run(command("--out", killed), check=True, capture_output=True)
    assert num_kills >= 1
    assert contents(killed) == contents(whole)


def run(*arguments):
    return main(["write", *map(str, arguments)])


def test_the_command_writes_what_the_class_writes(tmp_path, capsys):
    own = ("--env", "recsim_env/VideoSlate-v0", "--num-envs", 8, "--steps", 400, "--epsilon", 0.2, "--split", "test")
    assert run(*own, "--policy", "written_logs:FirstCandidates", "--out", tmp_path / "a", "--name", "first") == 0
    assert "400 steps in 1 shard, seed 0" in capsys.readouterr().out
    env = make_env("recsim_env/VideoSlate-v0", split="test")
    policy = FirstCandidates(env)
    write(tmp_path / "b", env, policy, epsilon=0.2, policy_name="first", rows_per_shard=50_000)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "recsim_env/Vido-v0"], "Vido"),
        (["--env", "CartPole-v1"], "must be an id of this package"),
        (["--steps", 0], "--steps=0: must be a whole number in"),
        (["--seed", -1], "--seed=-1: must be a whole number in"),
        (["--num-envs", 0], "--num-envs=0: must be a whole number in"),
        (["--epsilon", 0.1], "epsilon=0.1: must be omitted, since the random policy explores already"),
        (
            ["--epsilon", 2, "--policy", "written_logs:FirstCandidates"],
            r"epsilon=2.0: must be a number in \[0.0, 1.0\]",
        ),
        (
            ["--epsilon", 0.1, "--policy", "written_logs:Unsteady"],
            "must be omitted, since Unsteady is not deterministic",
        ),
        (["--policy", "greedy"], "must be 'random', or MODULE:NAME"),
        (["--policy", "no_such_module:Policy"], "No module named 'no_such_module'"),
        (["--policy", "written_logs:NoSuchPolicy"], "has no NoSuchPolicy"),
        (["--policy", "numpy:pi"], "must be a class, a function of an env, or an object with predict"),
        (["--policy", "operator:not_"], "policy=bool: has no predict"),
        (["--policy", "operator:add"], "cannot be called with an env \\(missing a required argument: 'b'\\)"),
        (["--policy", "written_logs:NotTrained"], "not trained: call learn\\(\\) or load\\(\\)"),
        (["--split", "dev"], "split='dev': unknown"),
        (["--observation", "pictures"], "observation='pictures': must be one of"),
        (["--arguments", "{"], "must be a JSON object"),
        (["--arguments", '{"slate_sise": 2}'], "argument 'slate_sise': unknown; did you mean 'slate_size'"),
    ],
)
def test_invalid_arguments_end_in_one_line(tmp_path, capsys, arguments, message):
    valid = ["--env", "recsim_env/Video-v0", "--policy", "random", "--steps", 100]
    assert run(*valid, "--out", tmp_path / "log", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert not (tmp_path / "log").exists() or not contents(tmp_path / "log")


@pytest.mark.parametrize("package", ["polars", "filelock"])
def test_the_extra_is_named_where_a_package_of_it_is_missing(tmp_path, package):
    program = (
        f"import sys; sys.modules['{package}'] = None; from recsim_env.logs.__main__ import main; sys.exit(main())"
    )
    arguments = ["write", *_COMMAND, "--out", str(tmp_path / "log")]
    run = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr == f"error: LogWriter needs {package}: pip install 'recsim-env[logs]'\n"
