"""Training by two nodes, each a `torchrun` of its own, on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import CHECKOUT
from safetensors.numpy import load_file
from small_trainings import config_of

from agents.large_model.checkpoint import checkpoints_in
from agents.large_model.config import RunConfig
from agents.large_model.distributed import ProcessGroup
from agents.large_model.training import Training
from agents.large_model.training_run import run_training
from agents.tracking.metrics_log import read_metrics

ARGUMENTS = (
    *("--preset", "micro", "--steps", "8000", "--sessions", "32", "--batch-sessions", "16", "--catalogs", "1"),
    *("--supervised-share", "0.5", "--evaluation-sessions", "8", "--threads", "1", "--checkpoint-minutes", "0"),
    "--no-comparison",
)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_node(out: Path, *torchrun: str) -> subprocess.Popen:
    """Start `torchrun` for a training in this folder."""
    program = ("torch.distributed.run", *torchrun, "-m", "agents.large_model", "train", *ARGUMENTS, "--out", str(out))
    return subprocess.Popen(
        [sys.executable, "-m", *program],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two_nodes(out: Path) -> list[subprocess.Popen]:
    """Start a training on two nodes, the first of which hosts the rendezvous."""
    rendezvous = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-id", "training")
    nodes = ("--nnodes", "2", "--nproc-per-node", "1", "--local-addr", "127.0.0.1", *rendezvous)
    # Without `is_host`, which different addresses make superfluous, both would be the host.
    return [start_node(out, *nodes, "--rdzv-conf", f"is_host={is_host}") for is_host in (True, False)]


def kill_node(torchrun: int) -> None:
    """Kill a `torchrun` and its processes, each of which is in a session of its own."""
    children = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
    os.kill(torchrun, signal.SIGKILL)
    for child in map(int, children):
        os.kill(child, signal.SIGKILL)


def outputs_of(nodes: list[subprocess.Popen]) -> list[str]:
    try:
        return [node.communicate(timeout=400)[0] for node in nodes]
    finally:
        for node in nodes:
            if node.poll() is None:
                kill_node(node.pid)


def end_of(out: Path) -> tuple:
    lines = read_metrics(out / "metrics.jsonl")
    tensors = load_file(checkpoints_in(out / "checkpoints")[-1])
    learned = {name: tensor.tobytes() for name, tensor in tensors.items()}
    return [(line["num_steps"], line["return"], line["gradient_norm"]) for line in lines], learned


def test_a_training_whose_node_is_killed_resumes_to_the_weights_of_one_node(tmp_path: Path):
    out, undisturbed = tmp_path / "two", tmp_path / "one"
    one = start_node(undisturbed, "--standalone", "--nproc-per-node", "2")
    (output,) = outputs_of([one])
    assert one.returncode == 0, output

    nodes = start_two_nodes(out)
    while not checkpoints_in(out / "checkpoints"):
        time.sleep(0.02)
        assert [node.poll() for node in nodes] == [None, None], "\n".join(outputs_of(nodes))
    kill_node(nodes[1].pid)
    survivor = outputs_of(nodes)[0]
    assert nodes[0].returncode != 0
    assert "large_model: another process of this training has exited" in survivor
    assert len(end_of(out)[0]) < len(end_of(undisturbed)[0])

    again = start_two_nodes(out)
    outputs = outputs_of(again)
    assert [node.returncode for node in again] == [0, 0], "\n".join(outputs)
    assert any("continuing after" in output for output in outputs)
    assert end_of(out) == end_of(undisturbed)


class Apart(ProcessGroup):
    """Two processes, the other of which has found a checkpoint."""

    def of_each(self, number: int) -> list[int]:
        return [number, 500]


def test_nodes_that_do_not_share_the_folder_are_refused(tmp_path: Path):
    training = Training(config_of("later", supervised=8), Apart(device=torch.device("cpu")))
    with pytest.raises(ValueError, match=r"must be one folder that all nodes share; .* of \[0, 500\] steps$"):
        run_training(training, tmp_path, RunConfig())
    assert not list(tmp_path.iterdir())
