"""The pretrained model within a session: its return so far by step, beside EB-LinUCB's, which was trained there.

`python -m benchmarks.experiments.in_context --out DIR`. All agents play the same sessions with users and items of the
split `test`; EB-LinUCB has learned its prior from `--steps` user-steps in the scenario before, the model from none. Its
history is also cut: without it, the model reads candidates alone. Writes in_context.jsonl, a row for each scenario as
soon as it is finished (the same command resumes), the table in_context.md and the picture in_context.png.
"""

import argparse
import sys
from functools import partial
from typing import Any

import numpy as np

from agents.terminal import number_in, positive
from benchmarks.analysis.statistics import interval_text, t_interval
from benchmarks.experiments.script import make_parser, measured_rows, run_script, write_results
from benchmarks.experiments.trained_agent import trained_agent
from benchmarks.suites import HELD_OUT, PRESETS

SCENARIOS = (*PRESETS, "MovieLens", "Ratings")
RIVAL = "eb-linucb"
AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    RIVAL: (RIVAL, {}),
    "large model": ("large-model-pretrained", {}),
    "large model without history": ("large-model-pretrained", {"reads_history": False}),
    "platform ranking": ("platform-ranking", {}),
}
"""The registry's name and further settings of each agent."""
_SHOWN_STEPS = (1, 2, 5, 10)


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("in_context", __doc__)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="only this one; repeat for several")
    parser.add_argument("--steps", type=positive, default=50_000, metavar="N", help="user-steps of training")
    parser.add_argument(
        "--sessions", type=number_in(int, 2, 100_000), default=1_000, metavar="N", help="sessions of each evaluation"
    )
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    sizes = {"num_steps": parsed.steps, "num_sessions": parsed.sessions}
    keys = [{"scenario": scenario} for scenario in parsed.scenario or SCENARIOS]
    rows = measured_rows(parsed.out / "in_context.jsonl", keys, sizes, partial(_result, **sizes), origin)
    write_results(parsed.out / "in_context", table(rows), lambda: picture(rows))


def _result(scenario: str, num_steps: int, num_sessions: int) -> dict[str, Any]:
    """Mean return so far after each step of each agent, and its paired difference to the rival's with the 95% interval:
    (mean, low, high)."""
    from agents.rollouts.evaluation import evaluate

    so_far: dict[str, np.ndarray] = {}
    for name, (registered, settings) in AGENTS.items():
        agent, env = trained_agent(registered, scenario, num_steps, num_sessions, settings)
        rewards = evaluate(agent, env, HELD_OUT.sessions_seed, 0).rewards
        longest = env.simulator.config.session_length
        so_far[name] = np.pad(rewards, ((0, longest - len(rewards)), (0, 0))).cumsum(0)  # [T, N]
    differences = {
        name: [[round(x, 4) for x in t_interval(step)] for step in values - so_far[RIVAL]]
        for name, values in so_far.items()
        if name != RIVAL
    }
    means = {name: values.mean(1).round(4).tolist() for name, values in so_far.items()}
    return {"returns": means, "differences": differences}


def table(rows: list[dict[str, Any]]) -> str:
    """Differences in the return so far after some steps, in Markdown."""
    lines = [
        f"| scenario | agent | {' | '.join(f'after {step}' for step in _SHOWN_STEPS)} | at the end |",
        f"| --- | --- | {' | '.join('---:' for _ in _SHOWN_STEPS)} | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row['scenario']} | {RIVAL}: return so far | "
            + " | ".join(f"{row['returns'][RIVAL][step - 1]:.2f}" for step in (*_SHOWN_STEPS, 0))
            + " |"
        )
        for name, steps in row["differences"].items():
            cells = (steps[step - 1] for step in (*_SHOWN_STEPS, 0))
            lines.append(f"| {row['scenario']} | {name} | {' | '.join(map(interval_text, cells))} |")
    return "\n".join(lines) + "\n"


def picture(rows: list[dict[str, Any]]) -> Any:
    """Differences in the return so far by step, one panel for each scenario."""
    from benchmarks.report.figures.style import CYCLE, band, legend, panels, set_title

    figure, axes = panels(len(rows), 4, (2.6, 2.2))
    styles: dict[str, dict[str, Any]] = {}
    for row, each in zip(rows, axes, strict=True):
        for n, (name, steps) in enumerate(row["differences"].items()):
            mean, low, high = np.array(steps).T
            label = name.replace("large model without", "without")
            styles[label] = {"color": CYCLE[n]}
            band(each, np.arange(1, len(mean) + 1), mean, (high - low) / 2.0, **styles[label])
        each.axhline(0.0, color="grey", lw=0.8)
        each.set_xlabel("step")
        set_title(each, row["scenario"])
    axes[0].set_ylabel(f"return so far − {RIVAL}'s")
    legend(figure, styles)
    return figure


if __name__ == "__main__":
    sys.exit(main())
