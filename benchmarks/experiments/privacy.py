"""The cost of privacy, and its effect: return and membership inference by epsilon, and the price of a deletion.

`python -m benchmarks.experiments.privacy --out DIR`. The log is one of random slates in Video, in sessions of at most
10 steps.

*Privacy.* For each epsilon, R `PrivateRewardModel`s are trained, each on a random half of the people. Returns are those
of held-out users with a held-out catalogue, as scores: 0 is random, 1 the lookahead oracle. Settings are chosen with
`--split validation`, which has other users and items, and another log. Each model is attacked: can its half be told
from the other half? LiRA takes those of the other models as shadow models that have not seen the person. Intervals of
scores are over models, those of the AUC over people.

*Deletion.* For each number of shards K, a `ShardedRewardModel` is trained on all people; then one of them, and
afterwards 1% of the people, are forgotten. Costs are shares of the gradient steps and of the CPU time of training from
the start; the differences in return are paired by session, with 95% intervals.

Writes privacy.jsonl, a row for each epsilon and each K as soon as it is finished (the same command resumes), both
tables in privacy.md and the picture privacy.png.
"""

import argparse
import math
import sys
import time
from functools import cache
from typing import Any

import numpy as np

from agents.terminal import not_negative, number_in, positive
from benchmarks.analysis.scale import has_scale, score
from benchmarks.analysis.statistics import interval_text, t_interval
from benchmarks.experiments.script import make_parser, measured_rows, run_script, write_results
from benchmarks.rows import ResultsError
from benchmarks.suites import HELD_OUT, TUNING

EPSILONS = (1.0, 3.0, 8.0, math.inf)
SHARDS = (1, 4, 16)

WORLDS = {worlds.split: worlds for worlds in (HELD_OUT, TUNING)}
"""By the split of users and items in evaluations."""

_ZERO, _ONE, _PLATFORM = "random", "lookahead-oracle", "platform-ranking"
_REFERENCES = (_ZERO, _ONE, _PLATFORM)
_ENV_ID, _SESSION_LENGTH = "recsim_env/Video-v0", 10
_MODEL = {"clip_norm": 3.0, "people_per_step": 48}
_SHARDED = {"people_per_step": 32}


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("privacy", __doc__)
    parser.add_argument(
        "--sessions",
        type=number_in(int, 8, 1_000_000),
        default=3_000,
        metavar="N",
        help="lanes of the log; about as many people",
    )
    parser.add_argument(
        "--models", type=number_in(int, 4, 1_000), default=4, metavar="R", help="models of each epsilon, an even number"
    )
    parser.add_argument(
        "--split",
        choices=WORLDS,
        default=HELD_OUT.split,
        help="of users and items in evaluations: validation, with another log, to choose settings",
    )
    for option, default in (("--learning-rate", 1e-2), ("--platform-weight", 2.5)):
        parser.add_argument(
            option, type=number_in(float, 0.0, 1_000.0), default=default, metavar="X", help="of private models"
        )
    parser.add_argument("--updates", type=positive, default=250, metavar="N", help="gradient steps of a private model")
    parser.add_argument(
        "--sharded-updates", type=positive, default=640, metavar="N", help="gradient steps of all shards"
    )
    parser.add_argument(
        "--evaluation-sessions", type=number_in(int, 2, 1_000_000), default=1_000, metavar="N", help="held-out sessions"
    )
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of the log, halves and models")
    return run_script(parser, _run, arguments)


def _run(parsed: argparse.Namespace, origin: dict[str, Any]) -> None:
    if parsed.models % 2:
        raise ValueError(f"--models {parsed.models}: must be an even number; each person is in half of the models")
    names = ["sessions", "models", "split", "learning_rate", "platform_weight", "updates", "sharded_updates"]
    names += ["evaluation_sessions", "seed"]
    settings = {name: getattr(parsed, name) for name in names}
    keys: list[dict[str, Any]] = [
        {"kind": "privacy", "level": None if math.isinf(epsilon) else epsilon} for epsilon in EPSILONS
    ]
    keys += [{"kind": "deletion", "level": shards} for shards in SHARDS]
    study = cache(lambda: Study(**settings))  # made for the first row that is missing

    def measure(kind: str, level: Any) -> dict[str, Any]:
        if kind == "deletion":
            return study().deletion(level)
        return study().privacy(math.inf if level is None else level)

    rows = measured_rows(parsed.out / "privacy.jsonl", keys, settings, measure, origin)
    write_results(parsed.out / "privacy", tables(rows), lambda: picture(rows))


class Study:
    """A log, and held-out sessions with their references."""

    def __init__(
        self,
        *,
        sessions: int,
        models: int,
        split: str,
        learning_rate: float,
        platform_weight: float,
        updates: int,
        sharded_updates: int,
        evaluation_sessions: int,
        seed: int,
    ) -> None:
        import tempfile

        import gymnasium

        from agents.private.people import People
        from agents.private.private_reward_model import PrivateRewardModel
        from recsim_env import LogWriter

        self._worlds, self._sharded_updates, self._seed = WORLDS[split], sharded_updates, seed
        chosen = {"learning_rate": learning_rate, "platform_weight": platform_weight, "num_updates": updates}
        self._settings = {**_MODEL, **chosen}
        options: dict[str, Any] = {"vectorization_mode": "vector_entry_point", "observation": "full"}
        self._env: Any = gymnasium.make_vec(
            _ENV_ID,
            sessions,
            split="train",
            catalog_seed=self._worlds.training_catalog_seed,
            max_episode_steps=_SESSION_LENGTH,
            **options,
        )
        held_out: dict[str, Any] = {"split": split, "catalog_seed": self._worlds.catalog_seed}
        self._test: Any = gymnasium.make_vec(_ENV_ID, evaluation_sessions, **held_out, **options)
        with tempfile.TemporaryDirectory() as folder:
            LogWriter(self._env, "random", folder, num_steps=sessions * _SESSION_LENGTH, seed=seed).write()
            self._log = PrivateRewardModel(self._env).read_log(folder, self._env)
        self._people = People.of(self._log)
        generator, num_people = np.random.default_rng(seed), len(self._people)
        first = [np.isin(np.arange(num_people), generator.permutation(num_people)[::2]) for _ in range(models // 2)]
        self._is_member = np.array([half for each in first for half in (each, ~each)])  # [R, P]
        self._references = {name: float(self._reference(name).mean()) for name in _REFERENCES}
        if not has_scale(*_scale(self._references)):
            zero, one = _scale(self._references)
            raise ResultsError(f"{_ENV_ID}: {_ONE} is not above {_ZERO} ({one:.2f}, {zero:.2f}): there is no scale")

    def _reference(self, name: str) -> np.ndarray:
        from agents.registry import entry_named

        entry = entry_named(name)
        agent_class = entry.agent_class()
        test = self._test.remake(observation=agent_class.observation)
        agent = agent_class(env=test, **entry.settings)
        return self._returns(agent.learn(0), test)

    def _returns(self, agent: Any, test: Any = None) -> np.ndarray:
        from agents.rollouts.evaluation import evaluate

        return evaluate(agent, self._test if test is None else test, self._worlds.sessions_seed, self._seed).returns

    def _score(self, returns: Any) -> Any:
        return score(returns, *_scale(self._references))

    def privacy(self, epsilon: float) -> dict[str, Any]:
        """Score and AUC (mean, low, high) of models with that epsilon, and the noise multiplier."""
        from agents.private.membership_inference import auc_interval, lira_scores, loss_score
        from agents.private.private_reward_model import PrivateRewardModel
        from agents.private.reward_model import person_losses

        returns: list[float] = []
        losses: list[np.ndarray] = []
        noise = 0.0
        for number, is_member in enumerate(self._is_member):
            settings: dict[str, Any] = {
                **self._settings,
                "epsilon": epsilon,
                "seed": self._seed + number,
            }
            model = PrivateRewardModel(self._env, **settings)
            half = np.concatenate([self._people.rows[person] for person in np.flatnonzero(is_member)])
            model.fit(self._log.rows(np.sort(half)), generator=np.random.default_rng([self._seed, number]))
            returns.append(float(self._returns(model).mean()))
            losses.append(person_losses(model, self._log, self._people.rows))
            noise = float(model.best_params()["noise_multiplier"])
        lira = []
        for number in range(len(losses)):
            shadows = np.arange(len(losses)) != number
            lira.append(lira_scores(losses[number], np.array(losses)[shadows], ~self._is_member[shadows]))
        scores = {"threshold": loss_score(np.array(losses)), "LiRA": np.array(lira)}
        of_members = np.mean([own[is_in].mean() for own, is_in in zip(losses, self._is_member, strict=True)])
        of_others = np.mean([own[~is_in].mean() for own, is_in in zip(losses, self._is_member, strict=True)])
        return {
            "num_people": int(self._is_member[0].sum()),
            "noise_multiplier": round(noise, 3),
            "returns": [round(each, 3) for each in returns],
            "score": _rounded(t_interval(self._score(returns))),
            "loss_of_members": round(float(of_members), 4),
            "loss_of_others": round(float(of_others), 4),
            "auc": {name: _rounded(auc_interval(own, self._is_member)) for name, own in scores.items()},
            "references": {name: round(value, 3) for name, value in self._references.items()},
        }

    def deletion(self, num_shards: int) -> dict[str, Any]:
        """Score before and, for one person and for 1%, cost and relative change of the return (mean, low, high)."""
        from agents.private.sharded_reward_model import ShardedRewardModel

        settings: dict[str, Any] = {
            **_SHARDED,
            "num_updates": self._sharded_updates,
            "num_shards": num_shards,
            "seed": self._seed,
        }
        model, seconds = ShardedRewardModel(self._env, **settings), time.process_time()
        model.fit(self._log)
        seconds, before = time.process_time() - seconds, self._returns(model)
        order = np.random.default_rng(self._seed).permutation(len(self._people))
        deletions, log = [], self._log
        for num_people in (1, max(len(order) // 100, 2)):
            people = self._people.ids[order[:num_people]]
            log = log.rows(np.flatnonzero(~np.isin(log.users, people)))
            stale, started = model.stale_shards(log), time.process_time()
            model.fit(log)
            spent = time.process_time() - started
            change = self._returns(model) - before
            result = {
                "num_people": num_people,
                "num_shards": len(stale),
                "step_share": round(len(stale) / num_shards, 4),
                "time_share": round(spent / seconds, 4),
                "change": _rounded([each / before.mean() for each in t_interval(change)]),
            }
            deletions.append(result)
        return {
            "num_people": len(order),
            "return_before": round(float(before.mean()), 3),
            "score_before": round(float(self._score(before.mean())), 4),
            "deletions": deletions,
            "references": {name: round(value, 3) for name, value in self._references.items()},
        }


def _scale(references: dict[str, float]) -> tuple[float, float]:
    """The returns that have the scores 0 and 1."""
    return references[_ZERO], references[_ONE]


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]


def tables(rows: list[dict[str, Any]]) -> str:
    """Both tables, in Markdown."""

    def cell(numbers: list[float], digits: int) -> str:
        return interval_text(numbers, f".{digits}f")

    lines = [
        "| epsilon | noise multiplier | score | loss of members | loss of others | AUC, threshold | AUC, LiRA |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in [each for each in rows if each["kind"] == "privacy"]:
        attacks = " | ".join(cell(row["auc"][attack], 3) for attack in ("threshold", "LiRA"))
        losses = f"{row['loss_of_members']:.3f} | {row['loss_of_others']:.3f}"
        epsilon = "inf" if row["level"] is None else f"{row['level']:g}"
        lines.append(f"| {epsilon} | {row['noise_multiplier']:.2f} | {cell(row['score'], 2)} | {losses} | {attacks} |")
    lines += [
        "",
        "| shards | score before | people forgotten | shards retrained | steps | CPU time | change of return |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in [each for each in rows if each["kind"] == "deletion"]:
        for own in row["deletions"]:
            mean, low, high = (100.0 * value for value in own["change"])
            change = f"{mean:+.1f}% ({low:+.1f}% to {high:+.1f}%)"
            shares = f"{own['num_shards']} | {own['step_share']:.0%} | {own['time_share']:.0%}"
            lines.append(f"| {row['level']} | {row['score_before']:.2f} | {own['num_people']} | {shares} | {change} |")
    return "\n".join(lines) + "\n"


def picture(rows: list[dict[str, Any]]) -> Any:
    """Score and AUC by epsilon."""
    from benchmarks.report.figures.style import CYCLE, panels

    own = [row for row in rows if row["kind"] == "privacy"]
    figure, (left, right) = panels(2, 2, (3.2, 2.6))
    places = np.arange(len(own))

    def draw(axes: Any, numbers: list[list[float]], shift: float, color: str, label: str) -> None:
        mean, low, high = np.array(numbers).T
        style = {"fmt": "o", "ms": 4.0, "color": color, "label": label}
        axes.errorbar(places + shift, mean, yerr=(mean - low, high - mean), **style)

    draw(left, [row["score"] for row in own], 0.0, CYCLE[0], "score")
    for row in own[:1]:
        platform = score(row["references"][_PLATFORM], *_scale(row["references"]))
        left.axhline(platform, color="grey", lw=0.8, label="platform's ranking")
    left.legend(fontsize="small")
    left.set_ylim(0.0, 1.0)
    left.set_title("score of the policy")
    for number, attack in enumerate(("threshold", "LiRA")):
        draw(right, [row["auc"][attack] for row in own], 0.16 * number - 0.08, CYCLE[number + 1], attack)
    right.axhline(0.5, color="grey", lw=0.8)
    right.set_title("AUC of the attacks")
    right.legend(fontsize="small")
    for axes in (left, right):
        axes.set_xticks(places, ["∞" if row["level"] is None else f"{row['level']:g}" for row in own])
        axes.set_xlim(-0.5, len(own) - 0.5)
        axes.set_xlabel("ε")
    return figure


if __name__ == "__main__":
    sys.exit(main())
