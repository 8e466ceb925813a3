"""`profile`: where the time of a training goes."""

import argparse
from typing import Any

import torch
from rich.table import Table

from agents.large_model.commands.train import add_training_arguments, config_of
from agents.large_model.distributed import joined
from agents.large_model.training import Training
from agents.terminal import console, positive


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "profile",
        help="say where the time of a training goes",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Train for some iterations, the first of which is not counted, and print what share of the time "
        "the env, the roll-out and the update take, and the operations that take most of it.",
    )
    add_training_arguments(parser)
    parser.add_argument("--iterations", type=positive, default=3, metavar="N", help="that are counted")
    parser.add_argument("--operations", type=positive, default=15, metavar="N", help="to print")
    parser.set_defaults(command=profile)


def profile(parsed: argparse.Namespace) -> int:
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    with joined(parsed.device) as processes:
        training = Training(config_of(parsed), processes, is_compiled=parsed.compile)
        training.iterate()
        on = console()
        table = Table(title=f"{training.model.num_parameters:,} parameters, preset {parsed.preset}")
        for heading in ("iteration", "stage", "steps/s", "tokens/s", "env", "roll-out", "update", "MFU"):
            table.add_column(heading, justify="right")
        activities = [torch.profiler.ProfilerActivity.CPU]
        if processes.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        for _ in range(parsed.iterations):
            line = training.iterate().line
            shares = [f"{line[name]:.0%}" for name in ("share_env", "share_playing", "share_learning")]
            speeds = [f"{line[name]:,.0f}" for name in ("steps_per_s", "tokens_per_s")]
            mfu = f"{line['mfu']:.1%}" if line["mfu"] else "–"
            table.add_row(str(line["iteration"]), line["stage"], *speeds, *shares, mfu)
        on.print(table)
        with torch.profiler.profile(activities=activities) as found:
            training.iterate()
        key = "self_cuda_time_total" if processes.device.type == "cuda" else "self_cpu_time_total"
        print(found.key_averages().table(sort_by=key, row_limit=parsed.operations, max_name_column_width=40))
        if processes.device.type == "cuda":
            print(f"peak GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
    return 0
