"""What more compute brings: models of several sizes, a curve through all but the largest, and how well it foretells it.

`python -m benchmarks.experiments.scaling --out DIR`; the curve is that of `benchmarks.experiments.sigmoid_fit`.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from agents.large_model.config import PRESETS, preset_named
from agents.large_model.distributed import forward_flops, process_group
from agents.large_model.model import LargeModelNetwork
from agents.large_model.worlds import make_env
from agents.networks.schema import Schema
from agents.terminal import console, not_negative, positive
from benchmarks.experiments.gpu_runs import SCENARIO, large_model_cell
from benchmarks.experiments.sigmoid_fit import Sigmoid, forecast
from benchmarks.report.figures.scaling import scaling as scaling_figure
from benchmarks.report.figures.style import write_figure
from benchmarks.rows import Row, append_rows, provenance, read_rows
from benchmarks.running.run import run_cell
from recsim_env.atomic_file import write_atomically

_NUM_EPOCHS = 2


def with_operations(rows: list[Row], operations_a_step: float) -> list[Row]:
    """Rows with `operations`: forward and backward of all epochs, and the forward pass of the roll-out."""
    factor = (3.0 * _NUM_EPOCHS + 1.0) * operations_a_step
    return [{**row, "operations": factor * row["env_steps"]} for row in rows]


def operations_a_step(preset: str) -> float:
    """Of a forward pass, for one item a step of Video."""
    env = make_env(f"recsim_env/{SCENARIO}-v0", 1)
    with torch.device("meta"):
        model = LargeModelNetwork(preset_named(preset), Schema.of([env.simulator], False, False))
    return forward_flops(model, 1, 1, env.simulator.config.num_candidates, env.simulator.config.session_length)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiments.scaling",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Train presets for the same number of user-steps, fit a sigmoid of return over compute through all "
        "but the largest, and say how well it foretells the largest. Writes results.jsonl, forecast.json and "
        "scaling.png, .pdf, .svg; presets that have rows already are not trained again.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder; made if missing")
    parser.add_argument("--preset", action="append", choices=PRESETS, help="repeat (default: tiny 1m 10m 30m 100m)")
    parser.add_argument("--steps", type=positive, default=3_000_000, metavar="N", help="user-steps of each")
    parser.add_argument("--evaluations", type=positive, default=6, metavar="N", help="of each training")
    parser.add_argument("--evaluation-sessions", type=positive, default=500, metavar="N", help="of each evaluation")
    parser.add_argument("--sessions", type=positive, default=1_024, metavar="N", help="side by side, in training")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="of trainings and their worlds")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parsed = parser.parse_args(arguments)
    on, origin = console(), provenance(arguments, "benchmarks.experiments.scaling")
    try:
        with process_group(parsed.device) as processes:
            if processes.device.type == "cuda":
                origin["machine"] += f", {torch.cuda.get_device_name(processes.device)}"
        parsed.out.mkdir(parents=True, exist_ok=True)
        results = parsed.out / "results.jsonl"
        rows = read_rows(results) if results.exists() else []
        for preset in parsed.preset or ("tiny", "1m", "10m", "30m", "100m"):
            cell = large_model_cell(
                "gpu-scaling",
                preset,
                parsed.steps,
                device=parsed.device,
                seed=parsed.seed,
                num_evaluations=parsed.evaluations,
                num_sessions=parsed.evaluation_sessions,
                num_envs=parsed.sessions,
                batch_sessions=max(parsed.sessions // 8, 1),
                num_catalogs=16,
                supervised_share=0.1,
            )
            if any(row["cell"] == cell.digest for row in rows):
                on.print(f"{preset}: trained already", highlight=False)
                continue
            found = with_operations([{**row, **origin} for row in run_cell(cell)], operations_a_step(preset))
            append_rows(results, found)
            rows += found
            on.print(f"{preset}: return {found[-1]['return_mean']:.1f} in {found[-1]['wall_s']:.0f} s", highlight=False)
        foretold = forecast(rows)
        write_atomically(parsed.out / "forecast.json", (json.dumps(foretold, indent=1) + "\n").encode())
        write_figure(parsed.out / "scaling", lambda: scaling_figure(rows, Sigmoid(**foretold["curve"]), foretold))
        on.print(
            f"{foretold['held_out']}: foretold {foretold['foretold']:.1f}, found {foretold['found']:.1f}",
            highlight=False,
        )
    except (ValueError, OSError) as error:
        print(f"scaling: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
