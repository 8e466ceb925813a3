"""One person, two scenarios: what the history in one is worth in the first steps in the other, by how far tastes agree.

`python -m benchmarks.experiments.across_scenarios --env Video --history-from Music --out DIR`. The same people visit
both scenarios, and their interests correlate (`PopulationConfig.shared_taste`). In the first, the platform's ranking
recommends for `--history` steps; in the second they are new. The pretrained large model plays there without that
history and with it, in the same sessions; so does the Bayes filter, which knows the user models and the joint
distribution of interests, and so tells what the history can be worth. How much the model trusts similarities between
the catalogues, or that it reads no history, is selected in other sessions, of the split `validation`. Writes
across_scenarios.jsonl, a row for each pair and correlation as soon as it is finished (the same command resumes), the
table across_scenarios.md and the picture across_scenarios.png. Both options may be repeated, for several pairs.
"""

import argparse
import sys
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from agents.terminal import number_in, positive
from benchmarks.analysis.statistics import interval_text, t_interval
from benchmarks.experiments.script import make_parser, measured_rows, run_script, write_results
from benchmarks.suites import HELD_OUT, PRESETS, TUNING, Worlds

CORRELATIONS = (0.0, 0.4, 0.8)
SIMILARITIES = (1.0, 0.5, 0.25)
"""Of `LargeModel.read_history_of`: candidates."""
MODEL, FILTER = "large model", "Bayes filter"
_NUM_STEPS = 10


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("across_scenarios", __doc__)
    parser.add_argument("--env", choices=PRESETS, action="append", required=True, help="where the agents act")
    parser.add_argument(
        "--history-from", choices=PRESETS, action="append", required=True, help="where the history is from"
    )
    parser.add_argument(
        "--correlation",
        type=number_in(float, 0.0, 1.0),
        action="append",
        metavar="R",
        help=f"of interests; repeat for several (default: {' '.join(map(str, CORRELATIONS))})",
    )
    parser.add_argument("--history", type=number_in(int, 1, 20), default=20, metavar="N", help="steps of the history")
    parser.add_argument("--sessions", type=number_in(int, 2, 100_000), default=1_000, metavar="N", help="people")
    parser.add_argument("--particles", type=positive, default=1_024, metavar="N", help="of the Bayes filter")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    if len(parsed.env) != len(parsed.history_from):
        raise ValueError("--history-from: must be given as often as --env")
    pairs = list(zip(parsed.history_from, parsed.env, strict=True))
    if any(first == second for first, second in pairs):
        raise ValueError("--history-from: must be another scenario than --env")
    sizes = {"num_sessions": parsed.sessions, "num_history_steps": parsed.history, "num_particles": parsed.particles}
    keys = [
        {"history_from": first, "scenario": second, "correlation": correlation}
        for first, second in pairs
        for correlation in parsed.correlation or CORRELATIONS
    ]
    rows = measured_rows(parsed.out / "across_scenarios.jsonl", keys, sizes, partial(gains, **sizes), origin)
    write_results(parsed.out / "across_scenarios", table(rows), lambda: picture(rows))


def _key(row: dict[str, Any]) -> tuple[str, str, float]:
    return row["history_from"], row["scenario"], row["correlation"]


def gains(
    history_from: str,
    scenario: str,
    correlation: float,
    num_history_steps: int,
    num_sessions: int,
    num_particles: int,
) -> dict[str, Any]:
    """`returns`: mean returns of the first steps without the history, and `gains`: (mean, low, high) of the paired
    difference with it, for `MODEL` and `FILTER`; `similarity`: that was selected, None for no history."""
    similarity = selected_similarity(
        _env(scenario, correlation, num_sessions, TUNING),
        _env(history_from, correlation, num_sessions, TUNING),
        num_history_steps,
        TUNING.sessions_seed,
    )
    here, there = (_env(each, correlation, num_sessions, HELD_OUT) for each in (scenario, history_from))
    seed = HELD_OUT.sessions_seed
    history, tastes = _visit(there, num_history_steps, num_particles, seed)
    here.reset(seed=seed)
    assert np.array_equal(here.simulator.sessions["user"], there.simulator.sessions["user"]), "the same people"
    returns: dict[str, list[np.ndarray]] = {MODEL: [], FILTER: []}
    for has_history in (False, True):
        informed = _filter(here, num_particles)
        if has_history:
            informed.tastes, informed.correlation = tastes, correlation
        returns[FILTER].append(_first_steps(informed, here, seed))
        returns[MODEL].append(_steps_of_model(here, there, history, similarity if has_history else None, seed))
    return {
        "similarity": similarity,
        "returns": {name: round(float(without.mean()), 4) for name, (without, _) in returns.items()},
        "gains": {
            name: [round(number, 4) for number in t_interval(informed - without)]
            for name, (without, informed) in returns.items()
        },
    }


def selected_similarity(here: Any, there: Any, num_history_steps: int, seed: int) -> float | None:
    """The one of `SIMILARITIES` with the highest return, if that is above the return without a history by two standard
    errors; otherwise None. `seed` is that of the sessions."""
    history = _logged(there, num_history_steps, seed)
    without = _steps_of_model(here, there, history, None, seed)
    best, highest = None, 0.0
    for similarity in SIMILARITIES:
        differences = _steps_of_model(here, there, history, similarity, seed) - without
        mean, error = differences.mean(), differences.std() / len(differences) ** 0.5
        if mean > max(highest, 2.0 * error):
            best, highest = similarity, mean
    return best


def _steps_of_model(
    here: Any, there: Any, history: dict[str, np.ndarray], similarity: float | None, seed: int
) -> np.ndarray:
    """[N]: returns of the first steps of the large model, without the history if `similarity` is None."""
    from agents.large_model.agent import LargeModel

    model = LargeModel.load("pretrained", here)
    if similarity is None:
        return _first_steps(model, here, seed)
    model.read_history_of(there, similarity)
    return _first_steps(model, here, seed, history)


def _logged(env: Any, num_steps: int, seed: int) -> dict[str, np.ndarray]:
    """Observations after visits that the platform's ranking has conducted."""
    observations, _ = env.reset(seed=seed)
    for _ in range(num_steps):
        observations, *_ = env.step(np.zeros(env.num_envs, np.int64))  # the first candidate; the platform sorts them
    return observations


def _env(scenario: str, correlation: float, num_sessions: int, worlds: Worlds) -> Any:
    """New users, whose sessions are over when they end."""
    import gymnasium
    from gymnasium.vector import AutoresetMode

    return gymnasium.make_vec(
        f"recsim_env/{scenario}-v0",
        num_sessions,
        vectorization_mode="vector_entry_point",
        observation="compact",
        split=worlds.split,
        catalog_seed=worlds.catalog_seed,
        autoreset_mode=AutoresetMode.DISABLED,
        overrides={"population": {"shared_taste": correlation, "warm_share": 0.0}},
    ).unwrapped


class Tastes(NamedTuple):
    """What feedback says of the interests of N people: normal likelihoods, relative to the mean of the population."""

    means: np.ndarray
    """[N, D]"""
    covariances: np.ndarray
    """[N, D, D]"""
    spread: float
    """Standard deviation of interests in the population."""


def _visit(env: Any, num_steps: int, num_particles: int, seed: int) -> tuple[dict[str, np.ndarray], Tastes]:
    """`_logged` observations, and what the Bayes filter has learned in these visits."""
    watching = _filter(env, num_particles)
    observations, _ = env.reset(seed=seed)
    state, is_over = None, np.zeros(env.num_envs, np.bool_)
    num_interests = env.simulator.world.sizes.num_factors
    interests = np.zeros((env.num_envs, num_particles, num_interests))
    weights = np.zeros((env.num_envs, num_particles))
    for step in range(num_steps + 1):
        _, state = watching.predict(observations, state)
        interests[~is_over], weights[~is_over] = state.particles["interests"][~is_over], state.weights[~is_over]
        if step < num_steps:
            observations, _, terminated, truncated, _ = env.step(np.zeros(env.num_envs, np.int64))
            is_over |= terminated | truncated
    population = watching.population.users.interests
    interests -= population.mean(0)
    means = np.einsum("nb,nbd->nd", weights, interests)
    deviations, ridge = interests - means[:, None], 1e-2 * np.eye(num_interests)
    posterior = np.linalg.inv(np.einsum("nb,nbd,nbe->nde", weights, deviations, deviations) + ridge)
    values, axes = np.linalg.eigh(posterior - np.linalg.inv(np.cov(population.T)))  # of the likelihoods' precision
    covariances = np.einsum("nde,ne,nfe->ndf", axes, 1.0 / np.maximum(values, 1e-2), axes)
    means = np.einsum("nde,nef,nf->nd", covariances, posterior, means)
    return observations, Tastes(means, covariances, float(population.std(0).mean()))


def _filter(env: Any, num_particles: int) -> Any:
    """A Bayes filter that acts in the env, with a belief about tastes from another scenario if `tastes` are set."""
    from agents.references.bayes_filter import BayesFilter

    class InformedFilter(BayesFilter):
        tastes: Tastes | None = None
        correlation = 0.0

        def _start(self, state: Any, observations: Any, history: np.ndarray, is_first: np.ndarray) -> None:
            super()._start(state, observations, history, is_first)
            if self.tastes is not None and self.population is not None:
                population = self.population.users.interests
                interests = state.particles["interests"] - population.mean(0)
                noise = state.generator.standard_normal(interests.shape)
                updated = updated_interests(interests, self.tastes, self.correlation, population.std(0).mean(), noise)
                state.particles["interests"] = updated + population.mean(0)

    search: dict[str, Any] = {"weight_candidates": (0.0, 1.0, 4.0), "num_tuning_sessions": 100}
    training = env.remake(num_envs=64, split="train", catalog_seed=HELD_OUT.training_catalog_seed)
    agent = InformedFilter(env=training, num_particles=num_particles, num_threads=1, **search).learn(0)
    agent.set_env(env)
    return agent


def updated_interests(
    interests: np.ndarray, tastes: Tastes, correlation: float, spread: float, noise: np.ndarray
) -> np.ndarray:
    """[N, B, D]: particles of interests here, given what is known of interests there.

    An ensemble Kalman filter (Evensen 1994): interests there are H w + e for interests w here, with
    H = correlation · (spread there) / (spread here) and e of variance (1 - correlation^2) (spread there)^2.

    Args:
        interests: [N, B, D], relative to the mean of the population.
        tastes: what is known of interests there; where the numbers of topics differ, of the first D of them.
        correlation: of the interests in a topic here and there.
        spread: standard deviation of interests here.
        noise: [N, B, D], standard normal.
    """
    shared = min(interests.shape[2], tastes.means.shape[1])
    slope = correlation * tastes.spread / spread
    observed = tastes.covariances[:, :shared, :shared] + (1.0 - correlation**2) * tastes.spread**2 * np.eye(shared)
    deviations = interests - interests.mean(1, keepdims=True)
    covariances = (
        np.einsum("nbd,nbe->nde", deviations, deviations[:, :, :shared]) / interests.shape[1]
    )  # [N, D, shared]
    gain = slope * covariances @ np.linalg.inv(slope**2 * covariances[:, :shared] + observed)
    perturbed = np.einsum("nde,nbe->nbd", np.linalg.cholesky(observed), noise[:, :, :shared])
    errors = tastes.means[:, None, :shared] + perturbed - slope * interests[:, :, :shared]
    return interests + np.einsum("nde,nbe->nbd", gain, errors)


def _first_steps(agent: Any, env: Any, seed: int, history: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """[N]: returns of the first steps of the agent's sessions, that begin with the given histories."""
    observations, _ = env.reset(seed=seed)
    if history is not None:
        items = history["history_items"]
        later = {"history_items": np.where(items >= 0, items + len(env.simulator.world.items), items)}
        observations = {**observations, **later, "history_feedback": history["history_feedback"]}
    returns, is_over, state = np.zeros(env.num_envs), np.zeros(env.num_envs, np.bool_), None
    for _ in range(_NUM_STEPS):
        actions, state = agent.predict(observations, state)
        observations, rewards, terminated, truncated, _ = env.step(actions)
        returns += np.where(is_over, 0.0, rewards / env.simulator.config.reward_scale)
        is_over |= terminated | truncated
    return returns


def table(rows: list[dict[str, Any]]) -> str:
    """Gains of the first steps, in Markdown."""
    lines = [
        f"Return of the first {_NUM_STEPS} steps without a history, and what the history in another scenario adds:",
        "",
        f"| history from | in | correlation | {MODEL} | similarity | gain | {FILTER} | gain |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [str(part) for part in _key(row)]
        for name in (MODEL, FILTER):
            cells.append(f"{row['returns'][name]:.2f}")
            if name == MODEL:
                cells.append("no history" if row["similarity"] is None else f"{row['similarity']:.2f}")
            cells.append(interval_text(row["gains"][name]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def picture(rows: list[dict[str, Any]]) -> Any:
    """Gains by correlation, one panel for each pair of scenarios."""
    from benchmarks.report.figures.style import CYCLE, legend, panels, set_title

    pairs = list(dict.fromkeys(_key(row)[:2] for row in rows))
    figure, axes = panels(len(pairs), 4, (2.6, 2.2))
    for pair, each in zip(pairs, axes, strict=True):
        own = [row for row in rows if _key(row)[:2] == pair]
        for n, name in enumerate((MODEL, FILTER)):
            mean, low, high = np.array([row["gains"][name] for row in own]).T
            style: dict[str, Any] = {"color": CYCLE[n], "marker": "o", "ms": 3.0, "capsize": 2.0}
            each.errorbar([row["correlation"] for row in own], mean, (mean - low, high - mean), **style)
        each.axhline(0.0, color="grey", lw=0.8)
        set_title(each, f"{pair[0]} to {pair[1]}")
        each.set_xlabel("correlation of interests")
    axes[0].set_ylabel(f"gain in the first {_NUM_STEPS} steps")
    legend(figure, {name: {"color": CYCLE[n]} for n, name in enumerate((MODEL, FILTER))})
    return figure


if __name__ == "__main__":
    sys.exit(main())
