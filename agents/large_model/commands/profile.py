"""Measure where the time of a training goes.

Trains for some iterations, the first of which is not counted, and prints the shares of time of the env, the rollout and
the update, and the slowest operations.
"""

import argparse

from agents.large_model.commands.train import add_training_arguments, speed, training_config
from agents.terminal import console, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser)
    parser.add_argument("--iterations", type=positive, default=3, metavar="N", help="to measure")
    parser.add_argument("--operations", type=positive, default=15, metavar="N", help="to print")


def profile(parsed: argparse.Namespace) -> int:
    config = training_config(parsed)
    import torch

    from agents.large_model.distributed import process_group
    from agents.large_model.training import Training

    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    with process_group(parsed.device) as group:
        is_cuda, output = group.device.type == "cuda", console()
        training = Training(config, group, is_compiled=parsed.compile, log=output.print)
        training.iterate()
        output.print(f"{training.network.num_parameters:,} parameters, preset {config.preset}")
        for _ in range(parsed.iterations):
            metrics = training.iterate()
            output.print(f"iteration {metrics['iteration']}, {metrics['stage']}: {speed(metrics)}")
        activities = [torch.profiler.ProfilerActivity.CPU]
        if is_cuda:
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profiler:
            training.iterate()
        key = "self_cuda_time_total" if is_cuda else "self_cpu_time_total"
        print(profiler.key_averages().table(sort_by=key, row_limit=parsed.operations, max_name_column_width=40))
        if is_cuda:
            print(f"peak GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
    return 0
