"""Train a generalist in sampled scenarios, with the recipe of the pretrained weights.

Every iteration plays in sampled scenarios (recsim_env.scenario_sampling) and distils a lookahead oracle, which reads
their latent state, into the network. No named scenario, and none that is reserved for validation or test, is ever
played. OUT gets metrics.jsonl and checkpoints, which `--model OUT` of the other commands reads; the same command
resumes an interrupted training.
"""

import argparse

from agents.large_model.commands.train import add_machine_arguments, train_in_folder
from agents.large_model.config import PRESETS, PRETRAINING, RunConfig, TrainingConfig
from agents.terminal import add_config_arguments, path, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder; created if necessary")
    parser.add_argument("--preset", default="tiny", choices=PRESETS, help="size of the network")
    parser.add_argument("--steps", type=positive, default=10_000_000, metavar="N", help="user-steps")
    parser.add_argument(
        "--sessions", type=positive, default=PRETRAINING["num_envs"], metavar="N", help="played in parallel"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, sessions and slates")
    add_machine_arguments(parser)
    add_config_arguments(parser, RunConfig)


def pretrain(parsed: argparse.Namespace) -> int:
    sizes = {"preset": parsed.preset, "num_steps": parsed.steps, "num_envs": parsed.sessions}
    config = TrainingConfig(**{**PRETRAINING, **sizes, "seed": parsed.seed})
    return train_in_folder(config, parsed)
