"""How fast each preset of the large model is on this device: model FLOPs utilisation, steps per second, memory."""

import gc
import time
from typing import Any

import torch

from agents.large_model.config import TrainingConfig
from agents.large_model.distributed import ProcessGroup
from agents.large_model.training import Training

_SESSIONS = {"10m": 1_024, "30m": 1_024, "100m": 512, "300m": 256, "1b": 128}
_MOST_SESSIONS = 2_048


def measured(preset: str, group: ProcessGroup, seconds: float, is_compiled: bool, num_envs: int = 0) -> dict[str, Any]:
    """Reinforcement on Video with one preset for about `seconds`, the first iteration not counted."""
    num_envs = num_envs or _SESSIONS.get(preset, _MOST_SESSIONS)
    config = TrainingConfig(
        preset=preset,
        num_steps=10**9,
        supervised_share=0.0,
        num_envs=num_envs,
        batch_sessions=max(num_envs // 4, 1),
        num_catalogs=1,
    )
    is_cuda = group.device.type == "cuda"
    training = Training(config, group, is_compiled=is_compiled)
    training.iterate()
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    lines: list[dict[str, Any]] = []
    started = time.perf_counter()
    while not lines or time.perf_counter() - started < seconds:
        lines.append(training.iterate())
    spent = time.perf_counter() - started

    def mean(name: str) -> float:
        return sum(line[name] for line in lines) / len(lines)

    found = {
        "preset": preset,
        "num_parameters": training.network.num_parameters,
        "num_envs": num_envs,
        "num_iterations": len(lines),
        "seconds": round(spent, 2),
        "steps_per_s": round(mean("steps_per_s"), 1),
        "tokens_per_s": round(mean("tokens_per_s"), 1),
        "playing_steps_per_s": round(mean("steps_per_s") / max(mean("share_rollout") + mean("share_env"), 1e-9), 1),
        "learning_steps_per_s": round(mean("steps_per_s") / max(mean("share_update"), 1e-9), 1),
        "share_env": round(mean("share_env"), 4),
        "training_mfu": round(mean("mfu"), 4) if lines[0]["mfu"] is not None else None,
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3) if is_cuda else None,
    }
    del training
    gc.collect()
    if is_cuda:
        torch.cuda.empty_cache()
    return found
