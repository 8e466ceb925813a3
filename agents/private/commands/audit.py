"""Attack a model: can its people be told from others?

The area under the ROC curve (AUC) of two membership inference attacks, with 95% intervals over people: 0.5 is
chance, 1 is certainty. --others is a log of other people, for instance of the same command with another seed.
"""

import argparse

from agents.private.commands.model_folder import add_folder_arguments, load_model
from agents.terminal import console, not_negative, number_in, path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_folder_arguments(parser)
    parser.add_argument("--others", type=path, required=True, metavar="DIR", help="folder of a log of other people")
    parser.add_argument(
        "--shadows", type=number_in(int, 2, 1_000), default=4, metavar="N", help="shadow models of LiRA"
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of the shadow models")


def audit(parsed: argparse.Namespace) -> int:
    from rich.table import Table

    from agents.private import membership_inference

    model = load_model(parsed.model)
    log, others = model.read_log(parsed.log), model.read_log(parsed.others)
    found = membership_inference.audit(model, log, others, num_shadows=parsed.shadows, seed=parsed.seed)
    table = Table("attack", "AUC", "95% interval")
    for attack, (value, low, high) in found.items():
        table.add_row(attack, f"{value:.3f}", f"{low:.3f} to {high:.3f}")
    console().print(table)
    return 0
