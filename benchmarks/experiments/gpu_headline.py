"""Measures each preset of the large model, then trains one for most of the time and evaluates it.

`python -m benchmarks.experiments.gpu_headline --out DIR` ends within `--minutes` on one 80 GB data-centre GPU. DIR gets
`speed.jsonl` (a line for each preset) and `results.jsonl` (result rows, which `python -m benchmarks report` reads).
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from agents.large_model.config import PRESETS
from agents.large_model.distributed import process_group
from agents.terminal import console, not_negative, positive
from benchmarks.experiments.gpu_runs import large_model_cell
from benchmarks.experiments.preset_speed import measured
from benchmarks.rows import append_rows, provenance
from benchmarks.running.run import run_cell

_LARGE = [name for name in PRESETS if name[0].isdigit()]
_FOR_EVALUATIONS = 0.85  # share of what is left that learning itself may take


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.gpu_headline",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Measure training MFU, roll-out speed and peak memory of presets, then train one on Video for the "
        "rest of the time, evaluate it on the benchmark's held-out users and catalogue, and write result rows.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder; made if missing")
    parser.add_argument("--minutes", type=float, default=9.0, metavar="M", help="that all of it may take")
    parser.add_argument("--measure", action="append", choices=PRESETS, help="repeat (default: those named by a number)")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="that a preset is measured for")
    parser.add_argument("--train", default="10m", choices=PRESETS, help="preset that is trained")
    parser.add_argument("--sessions", type=positive, default=1_024, metavar="N", help="side by side, in training")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="of the training and its worlds")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--compile", action="store_true", help="compile the trunk (torch.compile)")
    parsed = parser.parse_args(arguments)
    started = time.perf_counter()
    on, origin = console(), provenance(arguments, "benchmarks.experiments.gpu_headline")
    try:
        with process_group(parsed.device) as processes:
            if processes.device.type == "cuda":
                origin["machine"] += f", {torch.cuda.get_device_name(processes.device)}"
            parsed.out.mkdir(parents=True, exist_ok=True)
            speed = 0.0
            for preset in dict.fromkeys([*(parsed.measure or _LARGE), parsed.train]):
                sessions = parsed.sessions if preset == parsed.train else 0
                try:
                    found = measured(preset, processes, parsed.seconds, parsed.compile, sessions)
                except torch.OutOfMemoryError as error:
                    on.print(f"{preset}: does not fit ({error})", highlight=False, markup=False)
                    continue
                if preset == parsed.train:
                    speed = found["steps_per_s"]
                on.print(json.dumps(found), highlight=False, markup=False, soft_wrap=True)
                append_rows(parsed.out / "speed.jsonl", [{**found, **origin}])
            left = 60.0 * parsed.minutes - (time.perf_counter() - started)
            num_steps = int(speed * left * _FOR_EVALUATIONS)
            if num_steps < parsed.sessions:
                raise ValueError(f"--minutes {parsed.minutes}: too few, nothing is left for the training")
            on.print(f"training {parsed.train} for {num_steps:,} user-steps", highlight=False)
            cell = large_model_cell(
                "gpu-headline",
                parsed.train,
                num_steps,
                device=parsed.device,
                seed=parsed.seed,
                num_envs=parsed.sessions,
                batch_sessions=max(parsed.sessions // 8, 1),
                num_catalogs=16,
                supervised_share=0.03,
                distillation_share=0.33,
                is_compiled=parsed.compile,
            )
            rows = [{**row, **origin} for row in run_cell(cell)]
            append_rows(parsed.out / "results.jsonl", rows)
            for row in rows:
                says = f"{row['env_steps']:>12,} steps  {row['wall_s']:>6.0f} s  return {row['return_mean']:.1f}"
                on.print(says, highlight=False)
    except (ValueError, OSError) as error:
        print(f"headline: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
