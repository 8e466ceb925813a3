"""Explanations put to the test: are the items that an agent names those that its recommendation depends on, and does
the simulated user agree?

`python -m benchmarks.experiments.explanations --out DIR`. Agents play sessions of the split `test`; after `--after`
steps, the item that each would show is explained by leaving out one item of the history at a time
(`agents.explanation`).

*Deletion and insertion* (Petsiuk et al., "RISE: randomized input sampling for explanation of black-box models", BMVC
2018): the score of that item, relative to the other candidates and in units of their standard deviation, as the items
of the history are deleted, or inserted into an empty history, in the order of an explanation; the area under the curve
is its mean. Other orders: random; recency; gradient x input, the derivative of the score along the values of a row.

*Agreement with the user*, which only a simulator can tell: mean rank correlations, within a session, of what the
history contributes with the user's latent state. Over the items shown: the effect of each on the item to be shown, with
the user's taste for it times their similarity, and with the satiation that it leaves. Over the candidates: the score
with less the score without the history, with the user's affinity and satiation; and the score without the history, with
quality and appeal. The user's trust moves all candidates alike, so no explanation of a ranking can show it.

Writes explanations.jsonl, a row for each scenario and agent as soon as it is finished (the same command resumes), the
tables in explanations.md and the picture explanations.png.
"""

import argparse
import sys
import warnings
from functools import partial
from typing import Any

import numpy as np

from agents.terminal import number_in, positive
from benchmarks.analysis.statistics import interval_text, t_interval
from benchmarks.experiments.script import make_parser, measured_rows, run_script, write_results
from benchmarks.experiments.trained_agent import trained_agent
from benchmarks.suites import HELD_OUT, PRESETS

SCENARIOS = (*PRESETS, "MovieLens", "Ratings")
AGENTS = ("large-model-pretrained", "eb-linucb", "ppo")
EXPLAINED = "leave one out"
RIVALS = ("random", "recency", "gradient x input")
TERMS = (
    *("shown: taste", "shown: satiation", "history: affinity", "history: satiation"),
    *("rest: quality", "rest: appeal"),
)
"""Rank correlations, see the module."""
_LEAST_ROWS = 4  # of a history that is explained
_STEP = 0.02  # of the derivative, as a share of the values


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("explanations", __doc__)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="only this one; repeat for several")
    parser.add_argument("--agent", choices=AGENTS, action="append", help="only this one; repeat for several")
    parser.add_argument("--steps", type=positive, default=50_000, metavar="N", help="user-steps of training")
    parser.add_argument("--after", type=positive, default=10, metavar="N", help="steps before the explanation")
    parser.add_argument(
        "--sessions", type=number_in(int, 2, 100_000), default=200, metavar="N", help="sessions of each agent"
    )
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    sizes = {"num_steps": parsed.steps, "num_sessions": parsed.sessions, "after": parsed.after}
    scenarios, agents = parsed.scenario or SCENARIOS, parsed.agent or AGENTS
    keys = [{"scenario": scenario, "agent": agent} for scenario in scenarios for agent in agents]
    rows = measured_rows(parsed.out / "explanations.jsonl", keys, sizes, partial(explained_sessions, **sizes), origin)
    write_results(parsed.out / "explanations", tables(rows), lambda: picture(rows))


def explained_sessions(scenario: str, agent: str, num_steps: int, num_sessions: int, after: int) -> dict[str, Any]:
    """`curves`: (mean, low, high) of the areas under the curves by `EXPLAINED`, and of their paired advantage over each
    of `RIVALS`; `agreement`: those of each rank correlation of `TERMS` that is defined."""
    from agents.rollouts.evaluation import acting_in

    model, env = trained_agent(agent, scenario, num_steps, num_sessions)
    areas: dict[str, list[np.ndarray]] = {order: [] for order in (EXPLAINED, *RIVALS)}
    correlations: dict[str, list[float]] = {term: [] for term in TERMS}
    with acting_in(model, env, 0):
        observations, _ = env.reset(seed=HELD_OUT.sessions_seed)
        state, starts = None, np.ones(num_sessions, np.bool_)
        for _ in range(after):
            actions, state = model.predict(observations, state, starts)
            observations, _, terminated, truncated, _ = env.step(actions)
            starts = terminated | truncated
        latent, shown = env.simulator.latent_state(), env.simulator.observe("compact")
        for session in range(num_sessions):
            own = {part: values[session : session + 1] for part, values in observations.items()}
            num_rows = int((shown["history_items"][session] >= 0).sum())
            if num_rows < _LEAST_ROWS:
                continue
            found = model.explain(own)
            effects = np.zeros(num_rows)
            for reason in found.reasons:
                effects[reason.row] = reason.effect
            orders = {
                EXPLAINED: np.argsort(-effects, kind="stable"),
                "random": np.random.default_rng(session).permutation(num_rows),
                "recency": np.arange(num_rows)[::-1],
                "gradient x input": np.argsort(-_gradients(model, own, num_rows, found.candidate), kind="stable"),
            }
            for order, places in orders.items():
                areas[order].append(_areas(model, own, places, found.candidate))
            of_session = {part: values[session] for part, values in latent.items()}
            history = _history(env.simulator, shown, session, num_rows)
            for term, value in _agreement(model, own, effects, found.candidate, of_session, history).items():
                correlations[term].append(value)
    return _summary({order: np.array(values) for order, values in areas.items()}, correlations)


def _summary(areas: dict[str, np.ndarray], correlations: dict[str, list[float]]) -> dict[str, Any]:
    def interval(values: Any) -> list[float]:
        return [round(number, 4) for number in t_interval(np.asarray(values))]

    curves = {}
    for column, (curve, sign) in enumerate((("deletion", 1.0), ("insertion", -1.0))):  # a low deletion curve is good
        own = areas[EXPLAINED][:, column]
        advantages = {rival: interval(sign * (areas[rival][:, column] - own)) for rival in RIVALS}
        curves[curve] = {EXPLAINED: interval(own), **advantages}
    defined = {term: [value for value in values if np.isfinite(value)] for term, values in correlations.items()}
    agreement = {term: interval(values) for term, values in defined.items() if len(values) > 1}
    return {"num_explained": len(areas[EXPLAINED]), "curves": curves, "agreement": agreement}


def _areas(agent: Any, observation: Any, order: np.ndarray, candidate: int) -> np.ndarray:
    """[2]: mean score of the candidate while rows are deleted in this order [R], and while they are inserted."""
    from agents.explanation import without_rows

    rank = np.argsort(order)
    steps = np.arange(len(order) + 1)[:, None]
    kept = np.concatenate([rank >= steps, rank < steps])  # [2 (R + 1), R]
    scores = _standard_scores(agent, without_rows(observation, kept, agent.layout))[:, candidate]
    return scores.reshape(2, -1).mean(1)


def _standard_scores(agent: Any, observations: Any) -> np.ndarray:
    """[n, M]: relative scores, in units of their standard deviation over the candidates; 0 if all are equal."""
    scores = _relative_scores(agent, observations)
    spread = np.where(np.isfinite(scores), scores, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return scores / np.maximum(np.nanstd(spread, axis=1, keepdims=True), 1e-9)


def _relative_scores(agent: Any, observations: Any) -> np.ndarray:
    """[n, M]: see `agents.explanation.relative_scores`."""
    from agents.explanation import candidate_mask, relative_scores

    return relative_scores(agent.candidate_scores(observations), candidate_mask(observations))


def _gradients(agent: Any, observation: Any, num_rows: int, candidate: int) -> np.ndarray:
    """[R]: derivative of the candidate's score along the values of each row, the oldest first, by central differences;
    the item of a row is no value."""
    variants = {name: np.repeat(part, 2 * num_rows, 0) for name, part in observation.items()}
    name = "history" if "history" in observation else "history_feedback"
    length = agent.layout.history_length if name == "history" else observation["history_items"].shape[1]
    values = variants[name].reshape(2 * num_rows, length, -1)
    for row in range(num_rows):
        values[row, num_rows - 1 - row] *= 1.0 + _STEP
        values[num_rows + row, num_rows - 1 - row] *= 1.0 - _STEP
    variants[name] = values.reshape(variants[name].shape)
    upper, lower = _relative_scores(agent, variants)[:, candidate].reshape(2, -1)
    return (upper - lower) / (2.0 * _STEP)


def _history(simulator: Any, shown: Any, session: int, num_rows: int) -> dict[str, np.ndarray]:
    """Of one session, the oldest first: factors [R, D], topics [R, K] and consumed fractions [R] of the items shown;
    topics of the candidates [M, K]; mean factors of the catalogue [D]."""
    from recsim_env.simulation.observation import FEEDBACK

    records = simulator.world.item_records
    items = shown["history_items"][session, :num_rows][::-1]
    feedback = shown["history_feedback"][session].reshape(-1, len(FEEDBACK))[:num_rows][::-1]
    return {
        "factors": records["factors"][items],
        "topics": records["topics"][items],
        "consumption": feedback[:, FEEDBACK.index("consumption")].astype(np.float64),
        "candidate_topics": records["topics"][shown["candidate_items"][session].clip(min=0)],
        "mean_factors": records["factors"].mean(0),
    }


def _agreement(
    agent: Any,
    observation: Any,
    effects: np.ndarray,
    candidate: int,
    latent: dict[str, np.ndarray],
    history: dict[str, np.ndarray],
) -> dict[str, float]:
    """The rank correlations `TERMS` of one session, NaN where one side is constant."""
    from agents.explanation import without_rows

    interests, centre = latent["interests"], history["mean_factors"]
    centred, target = history["factors"] - centre, latent["candidate_factors"][candidate] - centre
    lengths = np.linalg.norm(centred, axis=1) * np.linalg.norm(target)
    tastes = centred @ interests * (centred @ target) / np.maximum(lengths, 1e-9)
    satiation = history["consumption"] * (history["topics"] @ history["candidate_topics"][candidate])
    none_and_all = np.array([[False] * len(effects), [True] * len(effects)])
    without, whole = _relative_scores(agent, without_rows(observation, none_and_all, agent.layout))
    exists = np.isfinite(whole)
    of_history = (whole - without)[exists]
    return {
        "shown: taste": _rank_correlation(effects, tastes),
        "shown: satiation": _rank_correlation(effects, -satiation),
        "history: affinity": _rank_correlation(of_history, (latent["candidate_factors"] @ interests)[exists]),
        "history: satiation": _rank_correlation(
            of_history, -(history["candidate_topics"] @ latent["satiation"])[exists]
        ),
        "rest: quality": _rank_correlation(without[exists], latent["candidate_quality"][exists]),
        "rest: appeal": _rank_correlation(without[exists], latent["candidate_appeal"][exists]),
    }


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's; NaN if one side is constant."""
    from scipy.stats import spearmanr

    if np.ptp(x) < 1e-9 or np.ptp(y) < 1e-9:
        return float("nan")
    return float(spearmanr(x, y).statistic)


def tables(rows: list[dict[str, Any]]) -> str:
    """Both tables, in Markdown."""

    def cell(numbers: list[float] | None) -> str:
        return "" if numbers is None else interval_text(numbers, ".2f")

    lines = []
    for curve in ("deletion", "insertion"):
        lines += [
            f"Advantage of leaving one out in the area under the {curve} curve, with its 95% interval:",
            "",
            f"| scenario | agent | sessions | area | {' | '.join(f'over {rival}' for rival in RIVALS)} |",
            f"| --- | --- | ---: | ---: | {' | '.join('---:' for _ in RIVALS)} |",
        ]
        for row in rows:
            numbers = (cell(row["curves"][curve][order]) for order in (EXPLAINED, *RIVALS))
            lines.append(f"| {row['scenario']} | {row['agent']} | {row['num_explained']} | {' | '.join(numbers)} |")
        lines.append("")
    lines += [
        "Rank correlation with the latent state of the user, with its 95% interval:",
        "",
        f"| scenario | agent | {' | '.join(TERMS)} |",
        f"| --- | --- | {' | '.join('---:' for _ in TERMS)} |",
    ]
    for row in rows:
        numbers = (cell(row["agreement"].get(term)) for term in TERMS)
        lines.append(f"| {row['scenario']} | {row['agent']} | {' | '.join(numbers)} |")
    return "\n".join(lines) + "\n"


def picture(rows: list[dict[str, Any]]) -> Any:
    """The advantage in the deletion curve over each rival, by scenario, one panel for each agent."""
    from benchmarks.report.figures.style import CYCLE, panels

    names = list(dict.fromkeys(row["agent"] for row in rows))
    figure, axes = panels(len(names), len(names), (3.0, 2.8), sharey=True)
    for name, each in zip(names, axes, strict=True):
        own = [row for row in rows if row["agent"] == name]
        for n, rival in enumerate(RIVALS):
            mean, low, high = np.array([row["curves"]["deletion"][rival] for row in own]).T
            places = np.arange(len(own))[::-1] + 0.2 * (1 - n)
            each.errorbar(mean, places, xerr=(mean - low, high - mean), fmt="o", ms=3.0, color=CYCLE[n], label=rival)
        each.axvline(0.0, color="grey", lw=0.8)
        each.set_yticks(np.arange(len(own))[::-1], [row["scenario"] for row in own])
        each.set_title(name)
        each.set_xlabel("advantage, in standard deviations")
    axes[0].legend(fontsize="small")
    return figure


if __name__ == "__main__":
    sys.exit(main())
