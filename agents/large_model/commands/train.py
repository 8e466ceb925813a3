"""`train`: train a model, from its beginning or from its last checkpoint."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.progress import ProgressColumn, Task
from rich.text import Text

from agents.large_model.config import TrainingConfig
from agents.large_model.distributed import Processes, joined
from agents.large_model.sizes import PRESETS
from agents.large_model.training import Progress, Training
from agents.large_model.training_run import TrainingRun
from agents.locked_folder import locked
from agents.terminal import console, not_negative, positive, progress_bar
from recsim_env.config import check_number


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a model",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Train a model in three stages, each of which can be left out (a share of 0): supervised (what is "
        "answered), distillation (from an oracle that reads the latent state of training worlds), reinforcement (PPO). "
        "OUT gets metrics.jsonl and checkpoints (weights in safetensors, state in JSON): killed at any instant and "
        "started again with the same command, it goes on. Under torchrun all processes train together: "
        "torchrun --nproc-per-node 8 -m agents.large_model train ...",
    )
    add_training_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder; made if missing")
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0, metavar="M", help="between two checkpoints")
    parser.add_argument(
        "--evaluate-every", type=not_negative, default=500_000, metavar="STEPS", help="user-steps; 0: at the end only"
    )
    parser.add_argument("--evaluation-sessions", type=positive, default=200, metavar="N", help="of each scenario")
    parser.add_argument("--tensorboard", action="store_true", help="write event files, too (needs tensorboard)")
    parser.set_defaults(command=train)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained, and where."""
    parser.add_argument(
        "--env",
        action="append",
        metavar="ID",
        help="scenario to train in; repeat for several, learnt side by side (default: recsim_env/Video-v0)",
    )
    add_world_argument(parser)
    parser.add_argument("--preset", default="tiny", choices=PRESETS, help="how large the model is")
    parser.add_argument(
        "--language-model",
        default="",
        metavar="NAME",
        help="a pretrained causal language model as the trunk: a folder or a name on the Hugging Face hub; its weights "
        "stay as they are, adapters learn (needs the extra llm)",
    )
    parser.add_argument("--lora-rank", type=positive, default=8, metavar="R", help="of a language model's adapters")
    parser.add_argument("--lora-alpha", type=float, default=16.0, metavar="A", help="adapters count A / R times")
    parser.add_argument("--steps", type=positive, default=10_000_000, metavar="N", help="user-steps of all stages")
    parser.add_argument("--supervised-share", type=float, default=0.03, metavar="X", help="of the steps")
    parser.add_argument("--distillation-share", type=float, default=0.0, metavar="X", help="of the steps")
    for flag, default, words in (
        ("--sessions", TrainingConfig.num_envs, "played side by side, in all"),
        ("--batch-sessions", TrainingConfig.batch_sessions, "of a gradient step, in all"),
        ("--catalogs", TrainingConfig.num_catalogs, "catalogues of each scenario"),
    ):
        parser.add_argument(flag, type=positive, default=default, metavar="N", help=words)
    parser.add_argument("--pictures", action="store_true", help="look at items' pictures, too")
    parser.add_argument("--sounds", action="store_true", help="listen to items' sounds, too")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="of weights, sessions and draws")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=positive, metavar="N", help="of each process on a CPU (default: PyTorch's)")
    parser.add_argument("--compile", action="store_true", help="compile the trunk (torch.compile); pays on a GPU")


def add_world_argument(parser: argparse.ArgumentParser) -> None:
    """Where a world from a log comes from."""
    parser.add_argument("--world", metavar="PATH", help="for MovieLens: fitted world, MovieLens-100K folder or CSV")


def config_of(parsed: argparse.Namespace) -> TrainingConfig:
    """What the arguments ask for."""
    check_number("--supervised-share", parsed.supervised_share, 0.0, 1.0)
    check_number("--distillation-share", parsed.distillation_share, 0.0, 1.0 - parsed.supervised_share)
    supervised = round(parsed.steps * parsed.supervised_share)
    distillation = round(parsed.steps * parsed.distillation_share)
    options = {"split": "train", "catalog_seed": 1_000 * parsed.seed}
    return TrainingConfig(
        env_ids=tuple(parsed.env or ("recsim_env/Video-v0",)),
        env_options={**options, "world": parsed.world} if parsed.world else options,
        preset=parsed.preset,
        language_model=parsed.language_model,
        lora_rank=parsed.lora_rank,
        lora_alpha=parsed.lora_alpha,
        supervised_steps=supervised,
        distillation_steps=distillation,
        reinforcement_steps=parsed.steps - supervised - distillation,
        num_envs=parsed.sessions,
        batch_sessions=parsed.batch_sessions,
        num_catalogs=parsed.catalogs,
        has_pictures=parsed.pictures,
        has_sounds=parsed.sounds,
        seed=parsed.seed,
    )


def train(parsed: argparse.Namespace) -> int:
    config = config_of(parsed)
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    with joined(parsed.device) as processes, locked(parsed.out) if processes.is_first else nullcontext():
        training = Training(config, processes, is_compiled=parsed.compile)
        run = TrainingRun(
            folder=parsed.out,
            checkpoint_minutes=parsed.checkpoint_minutes,
            evaluation_steps=parsed.evaluate_every,
            num_evaluation_sessions=parsed.evaluation_sessions,
            has_tensorboard=parsed.tensorboard,
        )
        if processes.is_first:
            return _shown(run, training, processes)
        run.run(training, processes)
    return 0


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields["speed"])


def _shown(run: TrainingRun, training: Training, processes: Processes) -> int:
    """Run it under a progress bar."""
    on = console()
    with progress_bar(on, _Speed()) as bar:

        def tell(words: str) -> None:
            bar.console.print(words, highlight=False, markup=False)

        def show(progress: Progress) -> None:
            line = progress.line
            bar.update(task, completed=progress.num_steps, description=line["stage"], speed=speed_in_words(line))
            if "evaluation" in line:
                tell(
                    f"{progress.num_steps:>13,} steps  {line['stage']:<13}  training return {line['return']:6.1f}  "
                    f"held-out users and catalogue {line['evaluation']:6.1f} "
                    f"(supervised part alone {line['evaluation_expected']:6.1f})"
                )

        run.tell, run.show = tell, show
        tell(f"{training.model.num_parameters:,} parameters, {training.plan.num_steps:,} user-steps")
        task = bar.add_task("train", total=training.plan.num_steps, speed="")
        run.run(training, processes)
    return 0


def speed_in_words(line: dict[str, Any]) -> str:
    """How fast an iteration was, and where its time went."""
    says = (
        f"{line['steps_per_s']:,.0f} steps/s, {line['tokens_per_s']:,.0f} tokens/s, env {line['share_env']:.0%}, "
        f"roll-out {line['share_playing']:.0%}, update {line['share_learning']:.0%}"
    )
    return f"{says}, MFU {line['mfu']:.0%}" if line.get("mfu") else says
