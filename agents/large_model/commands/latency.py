"""`latency`: how long one person waits for a recommendation."""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from agents.large_model.distributed import device_named
from agents.large_model.factory import new_model
from agents.large_model.model import LargeModel
from agents.large_model.plackett_luce import best_slates
from agents.large_model.session_state import Reading, SessionReader
from agents.large_model.sizes import PRESETS, sizes_named
from agents.large_model.trained_model import load_model
from agents.large_model.worlds import make_env
from agents.networks.schema import Schema
from agents.terminal import console, positive, warn
from recsim_env.config import check_number
from recsim_env.simulation.observation import FEEDBACK

_WARM_UP = 20


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "latency",
        help="say how long one person waits for a recommendation",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Time one recommendation for one person: read what came of the last item shown and score the "
        "candidates, with what was read before in the cache; and, for comparison, read the whole history anew. The "
        "catalogue's items are encoded beforehand. Weights are random unless --model says otherwise.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", default="1m", choices=PRESETS, help="how large the model is")
    which.add_argument(
        "--model", type=Path, metavar="DIR", help="what `train --out` or `run --keep` wrote, in the preset's place"
    )
    parser.add_argument("--history", type=positive, default=100, metavar="N", help="items shown before")
    parser.add_argument("--candidates", type=positive, default=100, metavar="N", help="items to choose from")
    parser.add_argument("--recommendations", type=positive, default=300, metavar="N", help="that are timed")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="on a CPU")
    parser.set_defaults(command=latency)


def latency(parsed: argparse.Namespace) -> int:
    torch.set_num_threads(parsed.threads)
    on, device = console(), device_named(parsed.device)
    env = make_env("recsim_env/Video-v0", 1)
    if parsed.model:
        model = load_model(parsed.model, parsed.device, warn)
    else:
        model = new_model(sizes_named(parsed.preset), Schema.of([env.simulator], False, False)).to(device).eval()
    most = model.sizes.max_tokens - 2  # besides them, the profile and the item shown last
    check_number("--history", parsed.history, 1, most, int)
    check_number("--candidates", parsed.candidates, 1, len(env.simulator.world.items), int)
    found = waits(model, env, parsed.history, parsed.candidates, parsed.recommendations)
    what = "a trained model" if parsed.model else f"preset {parsed.preset}"
    table = Table(
        title=f"One recommendation for one person, {what}",
        caption=f"history {parsed.history}, {parsed.candidates} candidates, {parsed.threads} threads",
    )
    for heading in ("", "median", "95% are below", "slowest"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, seconds in found.items():
        figures = (f"{1e3 * value:.2f} ms" for value in (*np.percentile(seconds, (50, 95)), seconds.max()))
        table.add_row(name, *figures)
    on.print(table)
    return 0


@torch.no_grad()
def waits(model: LargeModel, env: Any, history: int, num_candidates: int, number: int) -> dict[str, np.ndarray]:
    """Seconds of each of `number` recommendations, with the cache and without it."""
    device = next(model.parameters()).device
    content, generator = model.content_of(env), torch.Generator().manual_seed(0)
    memory = SessionReader(
        model,
        content,
        model.item_tables(content),
        num_sessions=1,
        num_slots=1,
        max_steps=1,
        history_length=history,
    )
    before, after = (_reading(model, content, history + n, num_candidates, generator, device) for n in (0, 1))
    one = torch.ones(1, dtype=torch.int64, device=device)
    found: dict[str, list[float]] = {"with the cache": [], "history read anew": []}
    for turn in range(_WARM_UP + number):
        for name, seconds in found.items():
            memory.begin(before)
            _wait_for(device)
            started = time.perf_counter()
            if name == "with the cache":
                memory.go_on(after, one)
            else:
                memory.begin(before)
            scores = memory.scores(after, memory.dynamics(after))
            best_slates(scores.logits, 1).cpu()
            if turn >= _WARM_UP:
                seconds.append(time.perf_counter() - started)
    return {name: np.array(seconds) for name, seconds in found.items()}


def _reading(
    model: LargeModel, content: Any, history: int, num_candidates: int, generator: torch.Generator, device: torch.device
) -> Reading:
    """Somebody to whom items were shown at random, a third of which were clicked and rated."""
    items = torch.randint(len(content), (1, history), generator=generator)
    clicked = (torch.rand(1, history, generator=generator) < 1 / 3).float()
    stars = torch.randint(1, 6, (1, history), generator=generator) / 5.0
    said = {"shown": torch.ones(1, history), "click": clicked, "rating": clicked * stars}
    answers = torch.stack([said.get(name, torch.zeros(1, history)) for name in FEEDBACK], 2)
    reading = Reading(
        users=torch.zeros(1, len(model.schema.user_names)),
        items=items,
        answers=answers,
        num_rows=torch.tensor([history]),
        candidates=torch.randperm(len(content), generator=generator)[None, :num_candidates],
        times=torch.tensor([int(content.release_steps.float().median())]),
        elapsed=torch.zeros(1),
    )
    return Reading(**{name: part.to(device) for name, part in vars(reading).items()})


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
