"""The pretrained model in PyTorch, in ONNX, and in ONNX with 8 bits: file size, latency, agreement and score.

`python -m benchmarks.experiments.compression --student MODEL --out DIR`. A student, a smaller model that `python -m
agents.large_model distil` has made of it, is compared, too. Exports the models into DIR, unless they are there; times a
step of a session whose history is in the cache, all variants in turn in each round; and plays the same sessions with
users and items of the split `test`. A score is the share of the lookahead oracle's gain over random play in the same
sessions. Writes variants.jsonl, a row for each variant; scores.jsonl, a row for each scenario, seed and agent as soon
as it is finished (the same command resumes); the table compression.md and the picture compression.png.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.large_model.config import PRETRAINED
from agents.large_model.serving.export_folder import PRECISIONS, STEP, graph_files, is_export
from agents.terminal import console, not_negative, number_in, path, positive, warn
from benchmarks.analysis.scale import score, with_scale, without_scores
from benchmarks.experiments.script import finished_rows, make_parser, run_script, write_results
from benchmarks.suites import HELD_OUT, PRESETS

STUDENT = "student"


class Variant(NamedTuple):
    """A model as it is used."""

    model: str
    """`PRETRAINED` or `STUDENT`."""
    precision: str
    """Of the export; empty for PyTorch."""


PYTORCH = "PyTorch fp32"
VARIANTS = {
    PYTORCH: Variant(PRETRAINED, ""),
    **{f"ONNX {precision}": Variant(PRETRAINED, precision) for precision in PRECISIONS},
    **{f"student, ONNX {precision}": Variant(STUDENT, precision) for precision in ("fp32", "int8-dynamic")},
}
"""By name; those of a student only if there is one."""

NUM_CANDIDATES = (100, 10_000)
HISTORY = 50
_NUM_ITEMS, _WARM_UP = 12_000, 10
_ZERO, _ONE = "random", "lookahead-oracle"


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("compression", __doc__)
    parser.add_argument("--student", type=path, metavar="MODEL", help="folder of a training, or file of a saved agent")
    parser.add_argument(
        "--scenario", choices=PRESETS, action="append", help=f"repeat for several (default: {' '.join(PRESETS)})"
    )
    parser.add_argument("--seeds", type=positive, default=5, metavar="N", help="catalogues and users of each scenario")
    parser.add_argument(
        "--sessions", type=number_in(int, 2, 100_000), default=200, metavar="N", help="sessions of each evaluation"
    )
    parser.add_argument("--rounds", type=positive, default=200, metavar="N", help="timed steps of each variant")
    parser.add_argument("--check", type=not_negative, default=10_000, metavar="N", help="observations of the agreement")
    return run_script(parser, _run, arguments)


class CompressedModel(NamedTuple):
    """A network with its exports."""

    network: Any
    version: str
    """Of its exports."""
    folder: Path
    """Of its exports, and of its file `agent.safetensors`."""

    @property
    def export(self) -> Path:
        """The folder of its exports."""
        return self.folder / "export"

    @property
    def agent(self) -> Path:
        """The file of its weights."""
        return self.folder / "agent.safetensors"


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    import torch

    import recsim_env
    from agents.large_model.checkpoint import load_network
    from agents.large_model.export import version_of
    from benchmarks.rows import STALE, append_rows, set_aside, write_rows

    torch.set_num_threads(1)
    screen, version = console(), recsim_env.__version__
    parsed.out.mkdir(parents=True, exist_ok=True)
    models = {}
    for name, path_of_model in ((PRETRAINED, PRETRAINED), (STUDENT, parsed.student)):
        if path_of_model:
            network = load_network(path_of_model, warn=warn)
            models[name] = CompressedModel(network, version_of(network), parsed.out / version_of(network))
    versions = {name: models[each.model].version for name, each in VARIANTS.items() if each.model in models}
    sizes = {"num_rounds": parsed.rounds, "num_checked": parsed.check}
    variants = finished_rows(parsed.out / "variants.jsonl", sizes)
    is_exported = all(is_export(model.export) for model in models.values())
    if not is_exported or {row["variant"]: row.get("model") for row in variants} != versions:
        if variants:
            warn(f"{parsed.out / 'variants.jsonl'}: {len(variants)} old rows move to {STALE}")
            set_aside(variants, parsed.out)
        common = {**sizes, "version": version, **origin}
        found = _variants(models, parsed.rounds, parsed.check, screen.print)
        variants = [{**row, "model": versions[row["variant"]], **common} for row in found]
        write_rows(parsed.out / "variants.jsonl", variants)
    scores_file, sizes = parsed.out / "scores.jsonl", {"num_sessions": parsed.sessions}
    versions |= {_ZERO: "", _ONE: ""}
    rows = [row for row in finished_rows(scores_file, sizes) if versions.get(row["agent"]) == row.get("model", "")]
    scenarios = parsed.scenario or PRESETS
    for scenario in scenarios:
        for seed in range(parsed.seeds):
            done = {row["agent"] for row in rows if (row["scenario"], row["seed"]) == (scenario, seed)}
            for agent, result in _returns(models, scenario, seed, parsed.sessions, done):
                row = {"scenario": scenario, "seed": seed, "agent": agent, "model": versions[agent]}
                rows.append({**row, "return_mean": result, **sizes, "version": version, **origin})
                append_rows(scores_file, rows[-1:])
            screen.print(f"{scenario}, seed {seed}: finished", highlight=False)
    kept = [row for row in rows if row["scenario"] in scenarios and row["seed"] < parsed.seeds]
    scores, references = {row["variant"]: _scores(kept, row["variant"]) for row in variants}, _references(kept)
    others = [
        f"{scenario}, seed {seed}" for scenario, seed in sorted(references.keys() - with_scale(references).keys())
    ]
    text = table(variants, scores) + without_scores(others, _ZERO, _ONE)
    write_results(parsed.out / "compression", text, lambda: picture(variants, scores))


def _variants(
    models: Mapping[str, CompressedModel], num_rounds: int, num_checked: int, log: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Size, latencies and agreement of each variant, after the exports."""
    from agents.large_model.agent import LargeModel
    from agents.large_model.export import export_network

    descriptions = {}
    for name, model in models.items():
        model.folder.mkdir(exist_ok=True)
        LargeModel.from_network(model.network).save(model.agent)
        log(f"{name}: {model.network.num_parameters:,} parameters")
        settings: dict[str, Any] = {"precisions": PRECISIONS, "num_checked": num_checked, "log": log}
        descriptions[name] = export_network(model.network, model.export, **settings)
    log("timing steps")
    times = latencies(models, num_rounds)
    rows = []
    for name, (model_name, precision) in VARIANTS.items():
        if model_name not in models:
            continue
        model, description = models[model_name], descriptions[model_name]
        sizes = [model.agent.stat().st_size]
        if precision:
            sizes = [description["files"][file] for file in graph_files(precision)]
        found = description.get("check", {}).get(precision, {}).get(STEP, {})
        row = {
            "variant": name,
            "num_parameters": model.network.num_parameters,
            "num_bytes": sum(sizes),
            "same_best": found.get("same_best", None if precision else 1.0),
        }
        for number, seconds in times.items():
            ratios = seconds[name] / seconds[PYTORCH]
            p50, p95 = np.percentile(1e3 * seconds[name], (50, 95))
            measured = {"p50_ms": p50, "p95_ms": p95, "time_ratio": np.median(ratios)}
            row |= {f"{key}_{number}": round(float(value), 4) for key, value in measured.items()}
        rows.append(row)
    return rows


def latencies(models: Mapping[str, CompressedModel], num_rounds: int) -> dict[int, dict[str, np.ndarray]]:
    """[rounds] seconds by number of candidates and variant: an observation is read and its candidates are scored, with
    the history in the cache."""
    from agents.large_model.commands.latency import observation
    from agents.large_model.env import make_env
    from agents.large_model.serving.exported_model import ExportedModel

    arguments = {"session_length": 2, "overrides": {"catalog": {"num_items": _NUM_ITEMS}}}
    env = make_env("recsim_env/Video-v0", 1, **arguments)
    exported = {}
    for name, (model, precision) in VARIANTS.items():
        if precision and model in models:
            each = ExportedModel(models[model].export, precision=precision)
            exported[name] = each, each.catalog(env)
    network = models[PRETRAINED].network
    content, found = network.content_of(env), {}
    for number in NUM_CANDIDATES:
        pair = [observation(env.simulator, HISTORY + n, number) for n in (0, 1)]
        steps = {PYTORCH: _step(network, env, content, *pair)}
        steps |= {name: _exported_step(*each, *pair) for name, each in exported.items()}
        found[number] = {name: np.zeros(num_rounds) for name in steps}
        for place in range(-_WARM_UP, num_rounds):
            for name, step in steps.items():
                seconds = step()
                if place >= 0:
                    found[number][name][place] = seconds
    return found


def _step(network: Any, env: Any, content: Any, before: Any, after: Any) -> Callable[[], float]:
    """Makes a step in PyTorch, and returns its seconds."""
    import torch

    from agents.large_model.session_state import ObservationReader, SessionState

    read = ObservationReader(env.simulator, network.schema, network.device)
    one = torch.ones(1, dtype=torch.int64)

    @torch.no_grad()
    def step() -> float:
        state.start(read(before))
        begin = time.perf_counter()
        batch = read(after)
        state.update(batch, one)
        state.scores(batch).logits.argmax(1)
        return time.perf_counter() - begin

    with torch.no_grad():
        state = SessionState.of(network, env.simulator.config, content, 1, HISTORY)
    return step


def _exported_step(model: Any, tables: Any, before: Any, after: Any) -> Callable[[], float]:
    """Makes a step with an exported model, and returns its seconds."""
    one = np.ones(1, np.int64)
    _, sessions = model.start(tables, before)

    def step() -> float:
        begin = time.perf_counter()
        model.step(tables, sessions, after, one)[0].logits.argmax(1)
        return time.perf_counter() - begin

    return step


def _returns(
    models: Mapping[str, CompressedModel], scenario: str, seed: int, num_sessions: int, done: set[str]
) -> Iterator[tuple[str, float]]:
    """(agent, mean return) of random play, the oracle and all variants in the same sessions, without those `done`."""
    from agents.large_model.agent import LargeModel
    from agents.large_model.env import make_env
    from agents.large_model.serving.exported_agent import ExportedAgent
    from agents.references.lookahead import LookaheadOracle
    from agents.rollouts.evaluation import evaluate
    from agents.rules.random_agent import RandomAgent

    catalog_seed = HELD_OUT.catalog_seed + seed
    env = make_env(f"recsim_env/{scenario}-v0", num_sessions, split=HELD_OUT.split, catalog_seed=catalog_seed)
    agents: dict[str, Callable[[], Any]] = {
        _ZERO: RandomAgent,
        _ONE: lambda: LookaheadOracle(env.remake(split="train", catalog_seed=seed)).learn(0),
    }
    for name, (model, precision) in VARIANTS.items():
        if model in models:
            exported = partial(ExportedAgent, models[model].export, precision=precision)
            agents[name] = exported if precision else partial(LargeModel.load, models[model].agent)
    for name, make in agents.items():
        if name not in done:
            agent = make()
            world = env.remake(observation=agent.observation)
            returns = evaluate(agent, world, HELD_OUT.sessions_seed + seed * HELD_OUT.sessions_apart).returns
            yield name, round(float(returns.mean()), 4)


def _scores(rows: list[dict[str, Any]], agent: str) -> np.ndarray:
    """Scores of an agent, in the order of scenarios and seeds, without those that have no scale."""
    own = {(row["scenario"], row["seed"]): row["return_mean"] for row in rows if row["agent"] == agent}
    scales = with_scale(_references(rows))
    return np.array([float(score(own[world], *scales[world])) for world in sorted(own) if world in scales])


def _references(rows: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[float, float]]:
    """Mean returns of random play and of the oracle, by scenario and seed."""
    returns = {(row["scenario"], row["seed"], row["agent"]): row["return_mean"] for row in rows}
    worlds = {(scenario, seed) for scenario, seed, _ in returns}
    return {world: (returns[*world, _ZERO], returns[*world, _ONE]) for world in worlds}


def table(variants: list[dict[str, Any]], scores: dict[str, np.ndarray]) -> str:
    """A row for each variant, in Markdown; times are relative to PyTorch's in the same rounds, differences of scores
    are from PyTorch's in the same sessions."""
    headings = [f"step, {number:,} candidates: p50, p95; of PyTorch" for number in NUM_CANDIDATES]
    lines = [
        f"| variant | size | {' | '.join(headings)} | same best | score (95% interval) | difference |",
        f"| --- | ---: |{' ---: |' * len(headings)} ---: | ---: | ---: |",
    ]
    for row in variants:
        times = (
            f"{row[f'p50_ms_{number}']:.2f} ms, {row[f'p95_ms_{number}']:.2f} ms; {row[f'time_ratio_{number}']:.2f}"
            for number in NUM_CANDIDATES
        )
        same = "" if row["same_best"] is None else f"{row['same_best']:.2%}"
        own = scores[row["variant"]]
        (mean, half), (gap, half_of_gap) = _interval(own), _interval(own - scores[PYTORCH])
        size = f"{row['num_bytes'] / 1e6:.2f} MB"
        found = f"{mean:.3f} ± {half:.3f} | {gap:+.3f} ± {half_of_gap:.3f}"
        lines.append(f"| {row['variant']} | {size} | {' | '.join(times)} | {same} | {found} |")
    return "\n".join(lines) + "\n"


def _interval(scores: np.ndarray) -> tuple[float, float]:
    """The mean, and half of its 95% interval over scenarios and seeds."""
    from benchmarks.analysis.statistics import t_interval

    mean, _, high = t_interval(scores)
    return mean, high - mean


def picture(variants: list[dict[str, Any]], scores: dict[str, np.ndarray]) -> Any:
    """A panel for each number of candidates: size and p95 of each variant, with its score."""
    from benchmarks.report.figures.style import panels

    figure, axes = panels(len(NUM_CANDIDATES), 2, (4.2, 3.4))
    for panel, number in zip(axes, NUM_CANDIDATES, strict=True):
        for row in variants:
            mean, _ = _interval(scores[row["variant"]])
            panel.plot(
                row["num_bytes"] / 1e6, row[f"p95_ms_{number}"], "o", label=f"{row['variant']}: score {mean:.3f}"
            )
        panel.set_title(f"A step with {number:,} candidates")
        panel.set_xlabel("size of the files in MB")
        panel.set_ylabel("95th percentile in ms")
        panel.set_xlim(0.0, 1.15 * max(row["num_bytes"] for row in variants) / 1e6)
        panel.set_ylim(0.0, 1.15 * max(row[f"p95_ms_{number}"] for row in variants))
    axes[-1].legend(loc="lower left")
    return figure


if __name__ == "__main__":
    sys.exit(main())
