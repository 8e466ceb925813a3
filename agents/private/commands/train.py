"""Train a reward model on a log.

With --epsilon, it is differentially private: its weights hardly depend on any one person. With --shards, it can forget
people at a fraction of the cost of training. The model is written to the file model.safetensors in its folder, which
agents.load reads.
"""

import argparse
import math

from agents.private.commands.model_folder import add_folder_arguments, model_file
from agents.terminal import console, not_negative, number_in, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_folder_arguments(parser)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--epsilon", type=number_in(float, 1e-3, 1e6), metavar="X", help="privacy budget")
    kind.add_argument("--shards", type=number_in(int, 1, 1_024), metavar="N", help="shards of people")
    parser.add_argument(
        "--delta",
        type=number_in(float, 0.0, 0.5),
        metavar="X",
        help="probability with which the privacy bound may fail (default: 1 / (10 x number of people))",
    )
    parser.add_argument("--updates", type=positive, metavar="N", help="gradient steps (default: that of the agent)")
    parser.add_argument(
        "--people-per-step", type=positive, metavar="N", help="people in a gradient step (default: that of the agent)"
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of the model")


def train(parsed: argparse.Namespace) -> int:
    from agents.private.private_reward_model import PrivateRewardModel
    from agents.private.sharded_reward_model import ShardedRewardModel
    from recsim_env.atomic_file import check_writable
    from recsim_env.locked_folder import locked

    if parsed.delta is not None and parsed.epsilon is None:
        raise ValueError("--delta: needs --epsilon")
    own = {"epsilon": parsed.epsilon, "delta": parsed.delta, "num_shards": parsed.shards}
    own |= {"num_updates": parsed.updates, "people_per_step": parsed.people_per_step, "seed": parsed.seed}
    settings = {name: value for name, value in own.items() if value is not None}
    model = (PrivateRewardModel if parsed.shards is None else ShardedRewardModel)(**settings)
    file = model_file(parsed.model)
    with locked(parsed.model):
        if file.exists():
            raise ValueError(f"{file}: exists; choose another folder")
        check_writable(file)
        model.learn_from_log(parsed.log, progress_bar=console().is_terminal)
        model.save(file)
    if isinstance(model, PrivateRewardModel):
        epsilon, delta = model.spent
        bound = f"private with epsilon {epsilon:.3g} and delta {delta:.2g}" if math.isfinite(epsilon) else "not private"
        print(f"wrote {file}: {bound}")
    else:
        print(f"wrote {file}: {model.network.num_people.sum()} people in {model.num_shards} shards")
    return 0
