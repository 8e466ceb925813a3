"""Distil a generalist into a smaller one.

The student learns the policy and the predictions of the teacher, a generalist that `pretrain` or `train --scenarios N`
has trained, in sampled scenarios; no named scenario, and none that is reserved for validation or test, is ever played.
The teacher plays the first sessions, the student the others, so that it learns in the states that it visits. OUT gets
metrics.jsonl and checkpoints, which `--model OUT` of the other commands reads; the same command resumes an interrupted
training, to the same result.
"""

import argparse

from agents.large_model.commands.train import add_machine_arguments, add_model_argument, train_in_folder
from agents.large_model.config import IMITATING, PRESETS, RunConfig, TrainingConfig
from agents.terminal import add_config_arguments, path, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder; created if necessary")
    add_model_argument(parser, "the teacher, written by train --out, or by save")
    parser.add_argument("--preset", default="micro", choices=PRESETS, help="size of the student")
    parser.add_argument("--steps", type=positive, default=1_000_000, metavar="N", help="user-steps")
    parser.add_argument(
        "--sessions", type=positive, default=IMITATING["num_envs"], metavar="N", help="played in parallel"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, sessions and slates")
    add_machine_arguments(parser)
    add_config_arguments(parser, RunConfig)


def distil(parsed: argparse.Namespace) -> int:
    sizes = {"preset": parsed.preset, "num_steps": parsed.steps, "num_envs": parsed.sessions}
    config = TrainingConfig(**{**IMITATING, **sizes, "teacher_model": str(parsed.model), "seed": parsed.seed})
    return train_in_folder(config, parsed)
