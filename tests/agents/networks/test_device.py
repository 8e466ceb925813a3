"""Devices are refused when an agent is made, not when its network is."""

import pytest
import torch

from agents import make


@pytest.mark.parametrize("name", ["pqn", "neural-linear"])
def test_an_unknown_device_is_refused_when_the_agent_is_made(name):
    with pytest.raises(ValueError, match=r"^device='tpu': must be cpu, cuda or cuda:NUMBER$"):
        make(name, "recsim_env/Video-v0", device="tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_is_refused_on_a_machine_without_one():
    with pytest.raises(ValueError, match=r"^device='cuda': PyTorch finds no GPU on this machine$"):
        make("pqn", "recsim_env/Video-v0", device="cuda")
