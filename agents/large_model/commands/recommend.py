"""`recommend`: one person's history in, ranked items with scores out."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from agents.large_model.commands.evaluate import add_model_arguments
from agents.large_model.person import Person, PersonError
from agents.large_model.session_state import ObservationReader, SessionReader
from agents.large_model.trained_model import load_model
from agents.large_model.worlds import make_env
from agents.terminal import console, positive, warn

_EXAMPLE = (
    '{"history": [{"item": 7, "click": 1, "consumption": 0.9, "rating": 5}, {"item": 12}], "profile": {"profile 1": '
    '0.3}, "candidates": [1, 2, 3], "time": 900}'
)


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "recommend",
        help="rank items for one person",
        description="Rank items for one person. PERSON is a JSON file such as "
        f"{_EXAMPLE.replace('%', '%%')}: what was shown, the oldest first, with what was answered (all but `item` may "
        "be left out); the profile; the items to rank (default: all on the shelf); the platform's time (default: its "
        "first). Items are numbers in the catalogue of --env and --catalog-seed.",
    )
    add_model_arguments(parser)
    parser.add_argument("person", type=Path, metavar="PERSON", help="a JSON file")
    parser.add_argument("--split", default="test", help="part of the items that the catalogue is (default: test)")
    parser.add_argument("--top", type=positive, default=10, metavar="N", help="items to print (default: 10)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(command=recommend)


def recommend(parsed: argparse.Namespace) -> int:
    on = console()
    model = load_model(parsed.model, parsed.device, warn, parsed.language_model)
    env_ids = parsed.env or [f"recsim_env/{domain}-v0" for domain in model.schema.domains]
    if len(env_ids) != 1:
        raise ValueError(f"--env: must be one, as items are those of one catalogue; the model knows {env_ids}")
    options = {"world": parsed.world} if parsed.world else {}
    env = make_env(env_ids[0], 1, split=parsed.split, catalog_seed=parsed.catalog_seed, **options)
    try:
        person = Person.of(json.loads(parsed.person.read_text(encoding="utf-8")), env.simulator)
    except RecursionError:
        raise ValueError(f"{parsed.person}: not a person (nested too deeply)") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{parsed.person}: not JSON ({error})") from None
    except PersonError as error:
        raise ValueError(f"{parsed.person}: {error}") from None
    ranked = rank(model, env, person)[: parsed.top]
    for row in ranked:
        row["title"] = env.simulator.world.items.title(row["item"])
    if parsed.json:
        print(json.dumps(ranked, indent=1))
        return 0
    table = Table(title=f"For this person, of {len(person.candidates)} items")
    for heading in ("", "item", "title", "score", "probability", "expected reward"):
        table.add_column(heading, justify="left" if heading == "title" else "right")
    for place, row in enumerate(ranked, 1):
        figures = f"{row['score']:.3f}", f"{row['probability']:.3f}", f"{row['expected_reward']:.3f}"
        table.add_row(str(place), str(row["item"]), row["title"], *figures)
    on.print(table)
    return 0


@torch.no_grad()
def rank(model: Any, env: Any, person: Person) -> list[dict[str, Any]]:
    """The person's candidates from the best: `item`, `score` (what showing it is worth, in units of reward, up to a
    constant), `probability` under the policy, `expected_reward` of showing it alone now."""
    device = next(model.parameters()).device
    content = model.content_of(env)
    config = env.simulator.config
    memory = SessionReader(
        model,
        content,
        model.item_tables(content),
        num_sessions=1,
        num_slots=config.slate_size,
        max_steps=config.session_length,
        history_length=len(person.items),
    )
    reading = ObservationReader(env.simulator, model.schema, device)(person.observation())
    memory.begin(reading)
    scores = memory.scores(reading, memory.dynamics(reading))
    worth = (scores.logits * scores.temperature)[0].cpu().numpy()
    probability, expected = scores.logits.softmax(1)[0].cpu().numpy(), scores.worths[0].cpu().numpy()
    return [
        {
            "item": int(person.candidates[place]),
            "score": float(worth[place]),
            "probability": float(probability[place]),
            "expected_reward": float(expected[place]),
        }
        for place in np.argsort(-worth, kind="stable")
    ]
