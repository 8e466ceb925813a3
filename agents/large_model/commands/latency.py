"""Time one recommendation for one user.

The feedback to the last item is read and the candidates are scored, with everything before in the cache; for
comparison, the whole history is read again. The catalogue is encoded beforehand. Weights are random unless --model is
given; that may also be an export, which ONNX Runtime executes.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.table import Table

from agents.large_model.config import PRESETS
from agents.large_model.serving.export_folder import PRECISIONS, is_export
from agents.terminal import console, path, positive, warn
from recsim_env.config import check_number

_WARM_UP = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", default="1m", choices=PRESETS, help="size of the network")
    which.add_argument("--model", type=path, metavar="PATH", help="instead: written by train --out, save, or export")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of an export")
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

    if parsed.model and is_export(parsed.model):
        return _latency_of_export(parsed)
    if parsed.precision != PRECISIONS[0]:
        raise ValueError(f"--precision {parsed.precision}: needs an export (--model DIR)")
    torch.set_num_threads(parsed.threads)
    device, env = device_named(parsed.device), make_env("recsim_env/Video-v0", 1, session_length=2)
    if parsed.model:
        network = load_network(parsed.model, parsed.device, warn)
    else:
        network = make_network(PRESETS[parsed.preset], Schema.of([env.simulator], False, False)).to(device).eval()
    _check_sizes(parsed, network.config.max_tokens, env)
    times = latencies(network, env, parsed.history, parsed.candidates, parsed.recommendations)
    _show(parsed, "trained model" if parsed.model else f"preset {parsed.preset}", times)
    return 0


def _latency_of_export(parsed: argparse.Namespace) -> int:
    from agents.large_model.env import make_env
    from agents.large_model.serving.exported_model import ExportedModel

    if parsed.device != "cpu":
        raise ValueError(f"--device {parsed.device}: an export is executed on the CPU")
    env = make_env("recsim_env/Video-v0", 1, session_length=2)
    model = ExportedModel(parsed.model, precision=parsed.precision, num_threads=parsed.threads)
    _check_sizes(parsed, model.max_tokens, env)
    tables, one = model.catalog(env), np.ones(1, np.int64)
    before, after = (observation(env.simulator, parsed.history + n, parsed.candidates) for n in (0, 1))
    _, sessions = model.start(tables, before)
    calls: dict[str, Callable[[], Any]] = {
        "with the cache": lambda: model.step(tables, sessions, after, one)[0].logits.argmax(1),
        "whole history": lambda: model.start(tables, after)[0].logits.argmax(1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_WARM_UP + parsed.recommendations):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
    times = {name: np.array(measured[_WARM_UP:]) for name, measured in seconds.items()}
    _show(parsed, f"exported model in {parsed.precision}", times)
    return 0


def _check_sizes(parsed: argparse.Namespace, max_tokens: int, env: Any) -> None:
    longest = max_tokens - 3  # the profile and the items of the session take a token each
    check_number("--history", parsed.history, 1, longest, int)
    check_number("--candidates", parsed.candidates, 1, len(env.simulator.world.items), int)


def _show(parsed: argparse.Namespace, model: str, times: dict[str, np.ndarray]) -> None:
    table = Table(
        title=f"One recommendation for one user, {model}",
        caption=f"history {parsed.history}, {parsed.candidates} candidates, {parsed.threads} threads",
    )
    for heading in ("", "median", "95th percentile", "maximum"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, seconds in times.items():
        figures = (f"{1e3 * value:.2f} ms" for value in (*np.percentile(seconds, (50, 95)), seconds.max()))
        table.add_row(name, *figures)
    console().print(table)


def latencies(network: Any, env: Any, history: int, num_candidates: int, number: int) -> dict[str, np.ndarray]:
    """Seconds of each of `number` recommendations, with the cache and without it."""
    import torch

    from agents.large_model.session_state import ObservationReader, SessionState
    from agents.large_model.speed import Timer
    from agents.networks.plackett_luce import best_slates

    timer = Timer(network.device)
    read = ObservationReader(env.simulator, network.schema, network.device)
    before, after = (read(observation(env.simulator, history + n, num_candidates)) for n in (0, 1))
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
                        state.start(after)
                    best_slates(state.scores(after).logits, 1).cpu()
                spent = timer.reset()[name]
                if i >= _WARM_UP:
                    measured.append(spent)
    return {name: np.array(measured) for name, measured in seconds.items()}


def observation(simulator: Any, history: int, num_candidates: int) -> dict[str, np.ndarray]:
    """Of a user with random items in the history, a third of which were clicked and rated, and random candidates."""
    from agents.large_model.person import Person, Shown, observation_of

    generator, num_items = np.random.default_rng(0), len(simulator.world.items)
    clicks = generator.random(history) < 1 / 3
    items, ratings = generator.integers(num_items, size=history), generator.integers(1, 6, size=history)
    rows = [
        Shown(item=int(item), click=float(click), rating=float(click * rating))
        for item, click, rating in zip(items, clicks, ratings, strict=True)
    ]
    candidates = generator.permutation(num_items)[:num_candidates].tolist()
    return observation_of(Person(history=rows, candidates=candidates), simulator)
