"""Time one recommendation for one user.

The feedback to the last item is read and the candidates are scored, with everything before in the cache; for
comparison, the whole history is read again. The catalogue is encoded beforehand. Weights are random unless --model is
given.
"""

import argparse
from typing import Any

import numpy as np
from rich.table import Table

from agents.large_model.config import PRESETS
from agents.terminal import console, path, positive, warn
from recsim_env.config import check_number

_WARM_UP = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", default="1m", choices=PRESETS, help="size of the network")
    which.add_argument("--model", type=path, metavar="PATH", help="instead: written by train --out, or by save")
    parser.add_argument("--history", type=positive, default=100, metavar="N", help="items shown so far")
    parser.add_argument("--candidates", type=positive, default=100, metavar="N", help="items to score")
    parser.add_argument("--recommendations", type=positive, default=300, metavar="N", help="to time")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="on a CPU")


def latency(parsed: argparse.Namespace) -> int:
    import torch

    from agents.large_model.checkpoint import load_network, make_network
    from agents.large_model.env import make_env
    from agents.networks.device import device_named
    from agents.networks.schema import Schema

    torch.set_num_threads(parsed.threads)
    device, env = device_named(parsed.device), make_env("recsim_env/Video-v0", 1, session_length=2)
    if parsed.model:
        network = load_network(parsed.model, parsed.device, warn)
    else:
        network = make_network(PRESETS[parsed.preset], Schema.of([env.simulator], False, False)).to(device).eval()
    longest = network.config.max_tokens - 3  # the profile and the items of the session take a token each
    check_number("--history", parsed.history, 1, longest, int)
    check_number("--candidates", parsed.candidates, 1, len(env.simulator.world.items), int)
    times = latencies(network, env, parsed.history, parsed.candidates, parsed.recommendations)
    table = Table(
        title=f"One recommendation for one user, {'trained model' if parsed.model else f'preset {parsed.preset}'}",
        caption=f"history {parsed.history}, {parsed.candidates} candidates, {parsed.threads} threads",
    )
    for heading in ("", "median", "95th percentile", "maximum"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, seconds in times.items():
        figures = (f"{1e3 * value:.2f} ms" for value in (*np.percentile(seconds, (50, 95)), seconds.max()))
        table.add_row(name, *figures)
    console().print(table)
    return 0


def latencies(network: Any, env: Any, history: int, num_candidates: int, number: int) -> dict[str, np.ndarray]:
    """Seconds of each of `number` recommendations, with the cache and without it."""
    import torch

    from agents.large_model.distributed import Timer
    from agents.large_model.session_state import ObservationReader, SessionState
    from agents.networks.plackett_luce import best_slates

    timer = Timer(network.device)
    read = ObservationReader(env.simulator, network.schema, network.device)
    before, after = (read(_observation(env.simulator, history + n, num_candidates)) for n in (0, 1))
    one = torch.ones(1, dtype=torch.int64, device=network.device)
    seconds: dict[str, list[float]] = {"with the cache": [], "whole history": []}
    with torch.no_grad():
        state = SessionState.of(network, env.simulator.config, network.content_of(env), 1, history)
        for i in range(_WARM_UP + number):
            for name, measured in seconds.items():
                with timer.measure("preparation"):
                    state.start(before)
                with timer.measure(name):
                    if name == "with the cache":
                        state.update(after, one)
                    else:
                        state.start(before)
                    best_slates(state.scores(after).logits, 1).cpu()
                spent = timer.reset()[name]
                if i >= _WARM_UP:
                    measured.append(spent)
    return {name: np.array(measured) for name, measured in seconds.items()}


def _observation(simulator: Any, history: int, num_candidates: int) -> dict[str, np.ndarray]:
    """A user with random items in the history, a third of which were clicked and rated."""
    from agents.large_model.commands.person import Person, Shown, observation_of

    generator, num_items = np.random.default_rng(0), len(simulator.world.items)
    clicks = generator.random(history) < 1 / 3
    items, ratings = generator.integers(num_items, size=history), generator.integers(1, 6, size=history)
    rows = [
        Shown(item=int(item), click=float(click), rating=float(click * rating))
        for item, click, rating in zip(items, clicks, ratings, strict=True)
    ]
    candidates = generator.permutation(num_items)[:num_candidates].tolist()
    return observation_of(Person(history=rows, candidates=candidates), simulator)
