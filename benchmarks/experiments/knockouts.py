"""What the pretrained model loses without a source of information on items, for items of any age and for new ones.

`python -m benchmarks.experiments.knockouts --out DIR`. It plays the same sessions with users and items of the split
`test`, whole and with each source hidden. New items are at most 20 steps old, so that they have few impressions. Writes
knockouts.jsonl, a row for each scenario and age as soon as it is finished (the same command resumes), and the table
knockouts.md.
"""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from agents.terminal import number_in
from benchmarks.analysis.statistics import interval_text, t_interval
from benchmarks.experiments.script import make_parser, measured_rows, run_script, write_results
from benchmarks.suites import HELD_OUT, PRESETS

if TYPE_CHECKING:
    from agents.large_model.model import LargeModelNetwork
    from agents.networks.item_content import ItemContent

HIDDEN: dict[str, tuple[str, ...]] = {
    "title": ("by title",),
    "image": ("by image",),
    "audio": ("by audio",),
    "title, image and audio": ("by title", "by image", "by audio"),
    "cues": ("cue",),
    "statistics": ("statistics",),
}
"""What is hidden together, by the name of the row: content features by the ends of their names, or all statistics."""

AGES: dict[str, dict[str, Any]] = {"any age": {}, "new": {"catalog": {"new_item_share": 1.0}}}
"""Overrides of the scenario, by the age of the candidates."""


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("knockouts", __doc__)
    parser.add_argument("--scenario", choices=PRESETS, action="append", help="only this one; repeat for several")
    parser.add_argument(
        "--sessions", type=number_in(int, 2, 100_000), default=1_000, metavar="N", help="sessions of each evaluation"
    )
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    sizes = {"num_sessions": parsed.sessions}
    keys = [{"scenario": scenario, "age": age} for scenario in parsed.scenario or PRESETS for age in AGES]
    rows = measured_rows(parsed.out / "knockouts.jsonl", keys, sizes, partial(_result, **sizes), origin)
    write_results(parsed.out / "knockouts", table(rows))


def _result(scenario: str, age: str, num_sessions: int) -> dict[str, Any]:
    """The mean return of the whole model, and what it changes by without each source, with the 95% interval of paired
    differences: (mean, low, high)."""
    import torch

    from agents.large_model.checkpoint import load_network
    from agents.large_model.config import PRETRAINED
    from agents.large_model.env import make_env
    from agents.large_model.rollout import play

    held_out = {"split": HELD_OUT.split, "catalog_seed": HELD_OUT.catalog_seed}
    env = make_env(f"recsim_env/{scenario}-v0", num_sessions, **held_out, overrides=AGES[age])
    network = load_network(PRETRAINED)
    whole = network.content_of(env)

    def returns(content: "ItemContent") -> Any:
        generator = torch.Generator().manual_seed(0)
        sessions = play(network, env, content, seed=HELD_OUT.sessions_seed, generator=generator, selection="greedy")
        return sessions.returns.double().numpy()

    complete = returns(whole)
    differences = {
        name: [round(x, 4) for x in t_interval(returns(without(network, whole, hidden)) - complete)]
        for name, hidden in HIDDEN.items()
    }
    return {"return_mean": round(float(complete.mean()), 4), "differences": differences}


def without(network: "LargeModelNetwork", content: "ItemContent", hidden: tuple[str, ...]) -> "ItemContent":
    """The catalogue without what is hidden; without statistics, all items have those of one that was just released."""
    from dataclasses import replace

    if "statistics" in hidden:
        return replace(content, statistics=content.statistics[:1].expand_as(content.statistics))
    return content.without(network.schema.content_names, hidden)


def table(rows: list[dict[str, Any]]) -> str:
    """Changes of the return, in Markdown."""
    lines = [
        f"| scenario | items | return | {' | '.join(f'without {name}' for name in HIDDEN)} |",
        f"| --- | --- | ---: | {' | '.join('---:' for _ in HIDDEN)} |",
    ]
    for row in rows:
        changes = map(interval_text, row["differences"].values())
        lines.append(f"| {row['scenario']} | {row['age']} | {row['return_mean']:.2f} | {' | '.join(changes)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
