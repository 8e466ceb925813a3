"""Measure user-steps per second.

Measures the single env, the vector env and the SB3 env, beside CartPole in the same run and beside the targets, and the
share of PPO's time that is spent in the env. `--first-step` measures the time from import to the first step instead,
with nothing compiled before.
"""

import argparse

from agents.terminal import console, number_in, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env", default="recsim_env/Video-v0", help="env id")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds")
    parser.add_argument("--seconds", type=number_in(float, 0.001), default=1.0, help="seconds for each way and round")
    parser.add_argument("--first-step", action="store_true", help="measure import and compilation, in new processes")
    parser.add_argument("--ppo-steps", type=positive, default=32_768, help="PPO's steps")


def throughput(parsed: argparse.Namespace) -> int:
    return _first_step(parsed) if parsed.first_step else _throughput(parsed)


def _first_step(parsed: argparse.Namespace) -> int:
    from rich.table import Table

    from benchmarks.experiments import first_step as experiment

    measured = experiment.measure(parsed.env, parsed.rounds)
    bare, first, another = measured.values()
    table = Table(title="CPU seconds from import to the first step, each in a process without compiled files")
    for heading in ("round", *measured, "first step / Numba function", "target"):
        table.add_column(heading, justify="right")
    for number, (one, other, more) in enumerate(zip(bare, first, another, strict=True), start=1):
        target = f"at most {experiment.TARGET:.1f}"
        table.add_row(str(number), f"{one:.2f}", f"{other:.2f}", f"{more:.2f}", f"{other / one:.1f}", target)
    console().print(table)
    return 0


def _throughput(parsed: argparse.Namespace) -> int:
    import numpy as np
    from rich.table import Table

    from benchmarks.experiments import throughput as experiment

    on = console()
    speeds = experiment.measure(parsed.env, parsed.rounds, parsed.seconds)
    table = Table(
        title="User-steps per second, median over rounds (lowest and highest)",
        caption="Multiples of CartPole's single env, of its vector env (targets in brackets), and of SARDINE, scaled",
    )
    for heading in ("way", "steps/s", "range", "x single", "x vector", "x SARDINE"):
        table.add_column(heading, justify="left" if heading == "way" else "right", no_wrap=True)
    for name, of_rounds in speeds.items():
        lanes, _ = experiment.WAYS.get(name, (1, {}))
        target = f" ({experiment.TARGETS[name]:.2f})" if name in experiment.TARGETS else ""
        cartpoles = (experiment.CARTPOLE_SINGLE, experiment.CARTPOLE_VECTOR)
        to_single, to_vector = (np.median(of_rounds / speeds[base]) for base in cartpoles)
        table.add_row(
            name,
            f"{np.median(of_rounds):,.0f}",
            f"{of_rounds.min():,.0f} to {of_rounds.max():,.0f}",
            f"{to_single:.2f}{target if lanes == 1 else ''}",
            f"{to_vector:.2f}{target if lanes > 1 else ''}",
            f"{to_single / experiment.SARDINE_TO_CARTPOLE:.1f}",
        )
    on.print(table)
    parts = Table(title="Time of a user-step by part, in nanoseconds, median over rounds")
    for heading in ("way", "step", "observe", "other", "copy of the observation", "whole / copy"):
        parts.add_column(heading, justify="left" if heading == "way" else "right")
    for name in experiment.WAYS:
        if "thread" not in name:
            took = experiment.profile(parsed.env, name, parsed.rounds)
            numbers = [f"{took[part]:,.0f}" for part in ("step", "observe", "other", "copy")]
            parts.add_row(name, *numbers, f"{took['whole'] / took['copy']:.1f}")
    on.print(parts)
    share, steps_per_second = experiment.ppo_share_in_env(parsed.env, parsed.ppo_steps)
    on.print(f"SB3 PPO, 64 lanes: {share:.1%} of its wall time in the env, {steps_per_second:,.0f} steps/s")
    return 0
