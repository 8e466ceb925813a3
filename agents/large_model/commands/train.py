"""Train a network, from scratch or from its last checkpoint.

Training has four stages, each of which can be left out (a share of 0): supervised (feedback), distillation (from an
oracle that reads the latent state of training worlds), imitation (of a larger network), reinforcement (PPO). With
--scenarios N it trains a generalist in N sampled scenarios instead of named ones (`pretrain` and `distil` have recipes
for that). OUT gets metrics.jsonl and checkpoints (weights in safetensors, state in JSON). The same command resumes an
interrupted training, and continues a finished one if --steps is larger. Under torchrun, several processes train
together, also on several nodes that share OUT: torchrun --nproc-per-node 8 -m agents.large_model train ...
"""

import argparse
from contextlib import nullcontext
from typing import Any

from rich.progress import TextColumn

from agents.large_model.config import PRETRAINED, RunConfig, TrainingConfig
from agents.terminal import add_config_arguments, config_from, console, path, positive, progress_bar
from recsim_env.locked_folder import locked

_FLAGS = {
    "env_ids": "env",
    "num_steps": "steps",
    "num_envs": "sessions",
    "num_catalogs": "catalogs",
    "num_scenarios": "scenarios",
    "has_images": "images",
    "has_audio": "audio",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder; created if necessary")
    add_training_arguments(parser)
    add_config_arguments(parser, RunConfig)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained, and where."""
    add_config_arguments(parser, TrainingConfig, flags=_FLAGS)
    add_world_argument(parser)
    add_machine_arguments(parser)


def add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the computations take place."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=positive, metavar="N", help="of each process on a CPU (default: PyTorch's)")
    parser.add_argument("--compile", action="store_true", help="compile the network (torch.compile); pays on a GPU")


def add_model_argument(parser: argparse.ArgumentParser, text: str = "written by train --out, or by save") -> None:
    """A trained model."""
    text = f"{text} (default: the generalist that comes with the package)"
    parser.add_argument("--model", type=path, default=PRETRAINED, metavar="PATH", help=text)


def add_world_argument(parser: argparse.ArgumentParser) -> None:
    """The fitted world of a log."""
    parser.add_argument("--world", metavar="PATH", help="for MovieLens: fitted world, MovieLens-100K folder or CSV")


def world_arguments(parsed: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the env for `--world`."""
    return {"world": parsed.world} if parsed.world else {}


def training_config(parsed: argparse.Namespace) -> TrainingConfig:
    """The training that the arguments describe."""
    arguments = {"split": "train", "catalog_seed": 1_000 * parsed.seed, **world_arguments(parsed)}
    return config_from(parsed, TrainingConfig, env_arguments=arguments)


def train(parsed: argparse.Namespace) -> int:
    return train_in_folder(training_config(parsed), parsed)


def train_in_folder(config: TrainingConfig, parsed: argparse.Namespace) -> int:
    """Train with a config, with the other arguments of the command."""
    run_config = config_from(parsed, RunConfig)
    import torch

    from agents.large_model.commands.evaluate import comparison
    from agents.large_model.distributed import process_group
    from agents.large_model.training import Training
    from agents.large_model.training_run import run_training

    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    with process_group(parsed.device) as group, locked(parsed.out) if group.is_first else nullcontext():
        if not group.is_first:
            run_training(Training(config, group, is_compiled=parsed.compile), parsed.out, run_config)
            return 0
        with progress_bar(console(), TextColumn("{task.fields[speed]}", markup=False)) as bar:
            task = bar.add_task("train", total=config.num_steps, speed="")

            def log(text: str) -> None:
                bar.console.print(text, highlight=False, markup=False)

            def show(metrics: dict[str, Any]) -> None:
                bar.update(task, completed=metrics["num_steps"], description=metrics["stage"], speed=speed(metrics))
                if "evaluation" in metrics:
                    others = {"supervised heads alone": metrics["evaluation_supervised"]}
                    if training.teacher is not None:
                        others["teacher"] = metrics["evaluation_teacher"]
                    log(
                        f"{metrics['num_steps']:>13,} steps  {metrics['stage']:<13}  training return "
                        f"{metrics['return']:6.1f}  held-out return {metrics['evaluation']:6.1f} "
                        f"({', '.join(f'{name} {number:6.1f}' for name, number in others.items())})"
                    )

            training = Training(config, group, is_compiled=parsed.compile, log=log)
            log(f"{training.network.num_parameters:,} parameters, {config.num_steps:,} user-steps")
            for line in training.rounded_sizes:
                log(line)
            results = run_training(training, parsed.out, run_config, log, show, parsed.arguments)
            if not training.is_over:
                log(f"stopped after {training.num_steps:,} steps; the same command continues the training")
            elif not results:
                log("nothing to train; a larger --steps continues this training")
            elif group.size == 1 and run_config.comparison:
                log("comparing with rules and the Bayes filter")
                held_out = training.worlds.held_out(run_config.evaluation_sessions)
                bar.console.print(comparison(training.network, held_out, "validation", training.teacher))
            if training.is_over and results and training.teacher is not None:
                log(
                    f"held-out return of the student, {training.network.num_parameters:,} parameters: "
                    f"{results['evaluation']:.2f}; of the teacher, {training.teacher.num_parameters:,}: "
                    f"{results['evaluation_teacher']:.2f}"
                )
        print(f"next: python -m agents.large_model evaluate --model {parsed.out}")
    return 0


def speed(metrics: dict[str, Any]) -> str:
    """Speed of an iteration, and shares of its time."""
    text = (
        f"{metrics['steps_per_s']:,.0f} steps/s, {metrics['tokens_per_s']:,.0f} tokens/s, env "
        f"{metrics['share_env']:.0%}, rollout {metrics['share_rollout']:.0%}, update {metrics['share_update']:.0%}"
    )
    return f"{text}, MFU {metrics['mfu']:.0%}" if metrics.get("mfu") else text
