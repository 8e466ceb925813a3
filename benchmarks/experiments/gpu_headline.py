"""Measures the speed of each preset of the large model, then trains one for the rest of the time and evaluates it.

`python -m benchmarks.experiments.gpu_headline --out DIR` ends within `--minutes` on one 80 GB data-centre GPU. DIR gets
`speed.jsonl` (a line for each preset: training MFU, rollout speed, peak memory) and `results.jsonl` (result rows of
Video with held-out users and catalogue, which `python -m benchmarks report` reads).
"""

import argparse
import gc
import json
import sys
import time
from typing import Any

from agents.large_model.config import PRESETS, TrainingConfig
from agents.terminal import console, not_negative, number_in, positive
from benchmarks.experiments.script import make_parser, run_script

_LARGE = tuple(name for name in PRESETS if name[0].isdigit())
_NUM_ENVS = {"10m": 1_024, "30m": 1_024, "100m": 512, "300m": 256, "1b": 128}
_MAX_ENVS = 2_048
_TRAINING_SHARE = 0.85  # of the remaining time; the evaluations take the rest


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("gpu_headline", __doc__)
    parser.add_argument("--minutes", type=number_in(float, 0.0), default=9.0, metavar="M", help="time limit")
    parser.add_argument(
        "--measure",
        action="append",
        choices=PRESETS,
        help=f"preset to measure; repeat for several (default: {', '.join(_LARGE)})",
    )
    parser.add_argument(
        "--seconds", type=number_in(float, 0.0), default=8.0, metavar="S", help="measuring time of a preset"
    )
    parser.add_argument("--train", default="10m", choices=PRESETS, help="preset to train")
    parser.add_argument("--sessions", type=positive, default=1_024, metavar="N", help="parallel sessions in training")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of the training and its worlds")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--compile", action="store_true", help="compile the network (torch.compile)")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    import torch

    from agents.networks.device import device_named
    from benchmarks.experiments.large_model_run import large_model_run
    from benchmarks.rows import append_rows
    from benchmarks.running.execution import log_to

    started, log = time.perf_counter(), log_to(console())
    device = device_named(parsed.device)
    parsed.out.mkdir(parents=True, exist_ok=True)
    steps_per_s = 0.0
    for preset in dict.fromkeys([*(parsed.measure or _LARGE), parsed.train]):
        num_envs = parsed.sessions if preset == parsed.train else _NUM_ENVS.get(preset, _MAX_ENVS)
        log(f"measuring {preset}" + (", compiled first" if parsed.compile else ""))
        try:
            speed = measured(preset, device, parsed.seconds, parsed.compile, num_envs)
        except torch.OutOfMemoryError as error:
            log(f"{preset}: does not fit ({error})")
            continue
        if preset == parsed.train:
            steps_per_s = speed["steps_per_s"]
        log(json.dumps(speed))
        append_rows(parsed.out / "speed.jsonl", [{**speed, **origin}])
    left = 60.0 * parsed.minutes - (time.perf_counter() - started)
    num_steps = int(steps_per_s * left * _TRAINING_SHARE)
    if num_steps < parsed.sessions:
        raise ValueError(f"--minutes {parsed.minutes}: too few, no time is left for the training")
    log(f"training {parsed.train} for {num_steps:,} user-steps, {left * _TRAINING_SHARE / 60.0:.1f} minutes")
    run = large_model_run(
        "gpu-headline",
        parsed.train,
        num_steps=num_steps,
        device=parsed.device,
        seed=parsed.seed,
        num_envs=parsed.sessions,
        supervised_share=0.03,
        distillation_share=0.33,
        is_compiled=parsed.compile,
    )
    rows = run.execute()
    append_rows(parsed.out / "results.jsonl", [{**row, **origin} for row in rows])
    for row in rows:
        log(f"{row['env_steps']:>12,} steps  {row['wall_s']:>6.0f} s  return {row['return_mean']:.1f}")


def measured(preset: str, device: Any, seconds: float, is_compiled: bool, num_envs: int) -> dict[str, Any]:
    """Speed and memory of reinforcement learning in Video for about `seconds`, without the first iteration."""
    import torch

    from agents.large_model.distributed import ProcessGroup
    from agents.large_model.training import Training

    config = TrainingConfig(
        preset=preset,
        num_steps=10**9,
        supervised_share=0.0,
        num_envs=num_envs,
        batch_sessions=max(num_envs // 4, 1),
        num_catalogs=1,
    )
    is_cuda = device.type == "cuda"
    training = Training(config, ProcessGroup(device=device), is_compiled=is_compiled)
    training.iterate()
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    iterations: list[dict[str, Any]] = []
    started = time.perf_counter()
    while not iterations or time.perf_counter() - started < seconds:
        iterations.append(training.iterate())
    spent = time.perf_counter() - started

    def mean(name: str) -> float:
        return sum(iteration[name] for iteration in iterations) / len(iterations)

    speed = mean("steps_per_s")
    result = {
        "preset": preset,
        "num_parameters": training.network.num_parameters,
        "num_envs": num_envs,
        "num_iterations": len(iterations),
        "seconds": round(spent, 2),
        "steps_per_s": round(speed, 1),
        "tokens_per_s": round(mean("tokens_per_s"), 1),
        "rollout_steps_per_s": round(speed / max(mean("share_rollout") + mean("share_env"), 1e-9), 1),
        "update_steps_per_s": round(speed / max(mean("share_update"), 1e-9), 1),
        "share_env": round(mean("share_env"), 4),
        "training_mfu": round(mean("mfu"), 4) if iterations[0]["mfu"] is not None else None,
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3) if is_cuda else None,
    }
    del training
    gc.collect()
    if is_cuda:
        torch.cuda.empty_cache()
    return result


if __name__ == "__main__":
    sys.exit(main())
