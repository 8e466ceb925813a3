"""Return against training compute: models of several sizes, a curve through all but the largest, and its prediction.

`python -m benchmarks.experiments.scaling --out DIR`. All models are trained for the same number of user-steps; the
curve is the sigmoid of `benchmarks.analysis.sigmoid_fit`. Writes results.jsonl, forecast.json and the figure scaling;
presets that have rows already are not trained again.
"""

import argparse
import json
import sys
from typing import Any

from agents.large_model.config import PRESETS
from agents.terminal import console, not_negative, positive
from benchmarks.experiments.script import make_parser, run_script

_NUM_EPOCHS = 2


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("scaling", __doc__)
    parser.add_argument(
        "--preset", action="append", choices=PRESETS, help="repeat for several (default: tiny 1m 10m 30m 100m)"
    )
    parser.add_argument("--steps", type=positive, default=3_000_000, metavar="N", help="user-steps of each training")
    parser.add_argument("--evaluations", type=positive, default=6, metavar="N", help="evaluations of each training")
    parser.add_argument(
        "--evaluation-sessions", type=positive, default=500, metavar="N", help="sessions of each evaluation"
    )
    parser.add_argument("--sessions", type=positive, default=1_024, metavar="N", help="parallel sessions in training")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of trainings and their worlds")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    from benchmarks.analysis.sigmoid_fit import forecast
    from benchmarks.experiments.large_model_run import large_model_run
    from benchmarks.report.figures.experiments import scaling
    from benchmarks.report.figures.style import write_figure
    from benchmarks.rows import append_rows, checked, read_rows
    from benchmarks.running.execution import log_to
    from recsim_env.atomic_file import write_atomically

    log, results = log_to(console()), parsed.out / "results.jsonl"
    parsed.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(results) if results.exists() else []
    for preset in parsed.preset or ("tiny", "1m", "10m", "30m", "100m"):
        run = large_model_run(
            "gpu-scaling",
            preset,
            num_steps=parsed.steps,
            device=parsed.device,
            seed=parsed.seed,
            num_envs=parsed.sessions,
            num_evaluations=parsed.evaluations,
            num_sessions=parsed.evaluation_sessions,
            supervised_share=0.1,
        )
        if any(row["run"] == run.digest for row in rows):
            log(f"{preset}: is trained already")
            continue
        factor = training_flops(preset)
        new = [checked({**row, **origin, "operations": factor * row["env_steps"]}) for row in run.execute()]
        append_rows(results, new)
        rows += new
        log(f"{preset}: return {new[-1]['return_mean']:.1f} after {new[-1]['wall_s']:.0f} s")
    prediction = forecast(rows)
    write_atomically(parsed.out / "forecast.json", (json.dumps(prediction, indent=1) + "\n").encode())
    write_figure(parsed.out / "scaling", lambda: scaling(rows, prediction))
    predicted, measured = prediction["predicted"], prediction["measured"]
    log(f"{prediction['held_out']}: predicted return {predicted:.1f}, measured {measured:.1f}")


def training_flops(preset: str) -> float:
    """Operations of training for a user-step of Video: forward and backward of all epochs, and the rollout."""
    import torch

    from agents.large_model.env import make_env
    from agents.large_model.model import LargeModelNetwork
    from agents.large_model.speed import forward_flops
    from agents.networks.schema import Schema

    env = make_env("recsim_env/Video-v0", 1)
    with torch.device("meta"):
        network = LargeModelNetwork(PRESETS[preset], Schema.of([env.simulator], False, False))
    config = env.simulator.config
    forward = forward_flops(network, 1, 1, config.num_candidates, config.session_length)
    return (3.0 * _NUM_EPOCHS + 1.0) * forward


if __name__ == "__main__":
    sys.exit(main())
