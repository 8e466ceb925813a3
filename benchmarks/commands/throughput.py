"""`throughput`: measure user-steps per second."""

import argparse
from typing import Any

from rich.table import Table

from agents.terminal import console, number_in, positive


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "throughput",
        help="measure user-steps per second",
        description="Measure user-steps per second of the single env, the vector env and the SB3 env, beside CartPole "
        "in the same run, and the share of PPO's time that is spent in the env.",
    )
    parser.add_argument("--env", default="recsim_env/Video-v0", help="env id (default: %(default)s)")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=number_in(float, 0.001), default=1.0, help="seconds for each way and round (default: 1)"
    )
    parser.add_argument("--ppo-steps", type=positive, default=32_768, help="PPO's steps (default: %(default)s)")
    parser.set_defaults(command=throughput)


def throughput(parsed: argparse.Namespace) -> int:
    from benchmarks.experiments.throughput import (
        CARTPOLE_VECTOR,
        SARDINE_TO_CARTPOLE,
        WAYS,
        measure,
        ppo_share_in_env,
        profile,
        ratios,
    )

    on = console()
    found = measure(parsed.env, parsed.rounds, parsed.seconds)
    to_cartpole, to_vector = ratios(found), ratios(found, CARTPOLE_VECTOR)
    table = Table(title="User-steps per second, median over rounds (lowest and highest)")
    for heading in ("way", "steps/s", "range", "x CartPole single", "x CartPole vector", "x SARDINE, scaled"):
        table.add_column(heading, justify="left" if heading == "way" else "right", no_wrap=True)
    for each in found:
        ratio = to_cartpole[each.name]
        low, high = min(each.steps_per_second), max(each.steps_per_second)
        table.add_row(
            each.name,
            f"{each.median:,.0f}",
            f"{low:,.0f} to {high:,.0f}",
            f"{ratio:.2f}",
            f"{to_vector[each.name]:.2f}",
            f"{ratio / SARDINE_TO_CARTPOLE:.1f}",
        )
    on.print(table)
    parts = Table(title="Time of a user-step by part, in nanoseconds, median over rounds")
    for heading in ("way", "step", "observe", "other", "copy of the observation"):
        parts.add_column(heading, justify="left" if heading == "way" else "right")
    for name in WAYS:
        if "thread" not in name:
            took = profile(parsed.env, name, parsed.rounds)
            parts.add_row(name, *(f"{each:,.0f}" for each in (took.step, took.observe, took.other, took.copy)))
    on.print(parts)
    share, steps_per_second = ppo_share_in_env(parsed.env, parsed.ppo_steps)
    on.print(f"SB3 PPO, 64 lanes: {share:.1%} of its wall time in the env, {steps_per_second:,.0f} steps/s")
    return 0
