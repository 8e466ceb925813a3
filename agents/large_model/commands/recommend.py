"""Rank items for one user.

PERSON is a JSON file such as {"history": [{"item": 7, "click": 1, "consumption": 0.9, "rating": 5}, {"item": 12}],
"profile": {"profile 1": 0.3}, "candidates": [1, 2, 3], "time": 900}: the items shown, the oldest first, with their
feedback (only item is required); the profile; the items to rank (default: all available ones); the platform's time
(default: its first step). --schema prints all of its fields as a JSON schema. Items are ids of the ratings log, in a
world that is fitted to one, those of the table with --items, and otherwise numbers in the catalogue of --env and
--catalog-seed. Items that the user has just consumed are left out, unless the scenario repeats them. --why adds what
each score owes to the items shown before and to what is known of the item.
"""

import argparse
import json
from typing import Any

import numpy as np
from rich.table import Table

from agents.large_model.commands.evaluate import add_model_arguments, network_and_envs
from agents.terminal import console, path, positive, warn

_NUM_EFFECTS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.set_defaults(split="all")
    parser.add_argument("person", type=path, nargs="?", metavar="PERSON", help="a JSON file")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of PERSON, and do nothing else")
    parser.add_argument(
        "--items", type=path, metavar="FILE", help="instead of --env: a table of items (columns: docs/serving.md)"
    )
    parser.add_argument("--top", type=positive, default=10, metavar="N", help="items to print")
    parser.add_argument("--why", action="store_true", help="explain the scores of the items that are printed")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def recommend(parsed: argparse.Namespace) -> int:
    from agents.large_model.agent import LargeModel
    from agents.large_model.env import items_env, make_env
    from agents.large_model.person import Person, observation_of, read_person
    from agents.large_model.serving.item_ids import ItemIds

    if parsed.schema:
        print(json.dumps(Person.model_json_schema(), indent=1))
        return 0
    if parsed.person is None:
        raise ValueError("PERSON: missing, must be a JSON file (--schema prints its fields)")
    network, env_ids, arguments = network_and_envs(parsed)
    if parsed.items and not network.schema.is_generalist:
        raise ValueError(f"--items: {parsed.model} must be a generalist, which was trained for any items")
    if not parsed.items and len(env_ids) != 1:
        raise ValueError(f"--env: must be exactly one, whose catalogue the items are of; one of {', '.join(env_ids)}")
    env: Any = items_env(parsed.items) if parsed.items else make_env(env_ids[0], 1, **arguments)
    if not network.schema.has_learnt_from(env.simulator):
        raise ValueError(
            f"{parsed.model}: was trained in another world than {env.simulator.world.source.path}; train it there"
        )
    try:
        person = read_person(parsed.person.read_text(encoding="utf-8"))
        observation = observation_of(person, env.simulator)
    except ValueError as error:
        raise ValueError(f"{parsed.person}: {error}") from None
    left_out = (len(person.candidates or ())) - observation["candidate_items"].shape[1]
    if left_out > 0:
        warn(f"{parsed.person}: {left_out} of the candidates left out, just consumed")
    model, items = LargeModel.from_network(network, env), env.simulator.world.items
    ids, ranked = ItemIds(items), rank(model, observation)
    shown = observation["candidate_items"][0]
    top = []
    for row in ranked[: parsed.top]:
        candidate = row.pop("candidate")
        top.append({**row, "item": ids[row["item"]], "title": items.title(row["item"])})
        if parsed.why:
            found = model.explain(observation, candidate)
            top[-1]["reasons"] = [
                {**reason._asdict(), "item": ids[reason.item], "instead": ids[int(shown[reason.instead])]}
                for reason in found.reasons
            ]
            top[-1]["sources"] = found.sources
    if parsed.json:
        print(json.dumps(top, indent=1))
        return 0
    table = Table(title=f"The best of {len(ranked)} items")
    for heading in ("", "item", "title", "score", "probability", "expected reward", *(["why"] if parsed.why else [])):
        table.add_column(heading, justify="left" if heading in ("title", "why") else "right")
    for place, row in enumerate(top, 1):
        figures = (f"{row[name]:.3f}" for name in ("score", "probability", "expected_reward"))
        table.add_row(str(place), str(row["item"]), row["title"], *figures, *([why(row)] if parsed.why else []))
    console().print(table)
    return 0


def why(row: dict[str, Any]) -> str:
    """The strongest effects on a score, of items shown before and of sources of information."""
    of_items = [(f"item {reason['item']}", reason["effect"]) for reason in row["reasons"]]  # which may occur twice
    strongest = sorted([*of_items, *row["sources"].items()], key=lambda pair: -abs(pair[1]))[:_NUM_EFFECTS]
    return ", ".join(f"{name} {effect:+.2f}" for name, effect in strongest)


def rank(model: Any, observation: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The candidates of an observation, best first: `item`, its place `candidate` among them, `score` (up to a
    constant; in units of reward, unless the model is a generalist), `probability` under the policy, and
    `expected_reward` if shown alone now."""
    scores = model.read(observation)
    columns = {
        "score": scores.logits * scores.temperature,
        "probability": scores.logits.softmax(1),
        "expected_reward": scores.expected_rewards,
    }
    arrays = {name: column[0].cpu().numpy() for name, column in columns.items()}
    items = observation["candidate_items"][0]
    return [
        {"item": int(items[i]), "candidate": int(i), **{name: float(array[i]) for name, array in arrays.items()}}
        for i in np.argsort(-arrays["score"], kind="stable")
    ]
