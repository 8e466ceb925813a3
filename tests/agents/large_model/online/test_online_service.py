"""A loop beside a server learns from its database, and publishes what the evidence does not speak against."""

import asyncio
import contextlib
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CHECKOUT  # noqa: F401  (sets what threads may do)
from stand_in_exports import stand_in_exports, write_stand_in  # noqa: F401 (a fixture)
from tracker_readers import pairs, read_tensorboard

from agents.large_model.__main__ import main
from agents.large_model.env import make_env
from agents.large_model.online import service as service_module
from agents.large_model.online.config import OnlineConfig, PublicationConfig, ServedPolicy, ServiceConfig
from agents.large_model.online.evidence import OffPolicyResult, ShadowResult
from agents.large_model.online.service import ROUNDS, OnlineService
from agents.large_model.online.tracked_rounds import tracked_rounds
from agents.large_model.serving.model_versions import ModelVersions
from benchmarks.experiments.served_people import WITHOUT_ARRIVALS, visit
from recsim_env.atomic_file import write_atomically
from tests.small_large_models import network_for
from tests.stand_in_model import DATABASE, SMALL, catalog_of, recommender_with

pytestmark = pytest.mark.usefixtures("stand_in_exports")

ENV = "recsim_env/Video-v0"
ARGUMENTS = {
    "catalog_seed": 5,
    "session_length": 6,
    "overrides": {
        "population": WITHOUT_ARRIVALS["population"],
        "catalog": {**SMALL["catalog"], **WITHOUT_ARRIVALS["catalog"]},
    },
}
LENIENT = PublicationConfig(min_effective_size=2.0, margin=1.0, max_slowdown=100.0, min_coverage=0.0)
CONFIG = ServiceConfig(min_sessions=2, idle_minutes=0.0)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """A folder with one version, and a database with the visits of 40 people."""
    folder = tmp_path_factory.mktemp("online")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.large_model.export.export_network", write_stand_in)
        ModelVersions.create(folder / "versions", network_for(make_env(ENV, 1, **ARGUMENTS)))
    recommender = recommender_with(folder, catalog_of(ENV, **ARGUMENTS), exploration=0.5)

    async def run() -> None:
        await visit(recommender, make_env(ENV, 40, **ARGUMENTS), 1, "first")
        await recommender.close()

    asyncio.run(run())
    return folder


@pytest.fixture
def folder(first, tmp_path) -> Path:
    shutil.copytree(first, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def judged(monkeypatch):
    """Results of the two tests, without the tests."""
    results = {
        "off_policy_test": OffPolicyResult(
            num_sessions=500,
            num_people=450,
            effective_sample_size=400.0,
            published_reward=10.0,
            difference=(0.1, -0.1, 0.3),
            prediction=(0.0, -0.1, 0.1),
        ),
        "shadow_test": ShadowResult(num_requests=9, num_failures=0, agreement=0.9, slowdown=1.0, coverage=1.0),
    }
    for name in results:
        monkeypatch.setattr(service_module, name, lambda *_, name=name: results[name])
    monkeypatch.setattr(service_module, "ExportedModel", lambda folder: folder)
    return results


def service_of(folder: Path, **changes) -> OnlineService:
    settings = {
        "learning": OnlineConfig(deploy_every=1, learning_rate=1e-3),
        "publication": LENIENT,
        "policy": ServedPolicy(exploration=0.5),
        "config": CONFIG,
        **changes,
    }
    return OnlineService(folder / DATABASE, folder / "versions", **settings)


def weights_of(network) -> np.ndarray:
    return torch.cat([each.detach().flatten() for each in network.state_dict().values()]).numpy()


def test_a_round_learns_and_publishes_a_better_version(folder, judged):
    service = service_of(folder)
    before, old = service.versions.published, weights_of(service.network)
    result = service.round()
    assert result.decision == "publish"
    assert service.versions.published == result.version != before
    published = weights_of(service.versions.network_of(result.version))
    assert np.array_equal(published, weights_of(service.network))
    assert not np.array_equal(published, old)
    (_, publication) = service.versions.history
    assert publication.evidence["off_policy"]["difference"] == [0.1, -0.1, 0.3]
    line = json.loads((service.versions.folder / ROUNDS).read_text())
    assert (line["number"], line["decision"]) == (1, "publish")
    service.close()


def test_it_learns_from_nobody_who_is_held_out(folder, judged):
    service = service_of(folder, publication=replace(LENIENT, held_out=0.5))
    learnt, held_out = (
        {part.person for part in service._parts(0.0, 1e12, held_out=which, max_sessions=99)} for which in (False, True)
    )
    assert len(learnt) + len(held_out) == 40
    assert min(len(learnt), len(held_out)) > 8
    assert service.round().num_sessions == len(learnt)
    service.close()


def test_sessions_are_learnt_from_once(folder, judged):
    service = service_of(folder)
    assert service.round() is not None
    assert service.round() is None
    service.close()


@pytest.mark.parametrize(
    ("test", "worse", "decision", "reason"),
    [
        ("off_policy_test", {"difference": (-20.0, -25.0, -15.0)}, "refuse", "reward of a session -20.000"),
        ("off_policy_test", {"difference": (-8.0, -25.0, 5.0)}, "wait", "is not above the margin of -10.000"),
        ("off_policy_test", {"difference": (float("nan"),) * 3}, "wait", "+nan (+nan to +nan)"),
        (
            "off_policy_test",
            {"effective_sample_size": 1.5},
            "wait",
            "effective sample size 2 of 500 sessions of 450 people",
        ),
        ("off_policy_test", {"prediction": (-0.2, -0.3, -0.1)}, "refuse", "log-likelihood of an answer -0.2000"),
        ("off_policy_test", {"prediction": (float("nan"),) * 3}, "refuse", "log-likelihood of an answer +nan"),
        ("shadow_test", {"num_failures": 1}, "refuse", "1 of 9 answers have scores that are not finite"),
        ("shadow_test", {"slowdown": 200.0}, "refuse", "answers take 200.00 times as long"),
    ],
)
def test_a_version_is_published_only_if_no_test_says_worse(folder, judged, test, worse, decision, reason):
    judged[test] = replace(judged[test], **worse)
    service = service_of(folder)
    published = service.versions.published
    result = service.round()
    assert (result.decision, service.versions.published) == (decision, published)
    assert reason in result.reasons[0]
    starts_again = np.array_equal(weights_of(service.network), weights_of(service.versions.network_of(published)))
    assert starts_again == (decision == "refuse")
    service.close()


def test_sessions_of_a_single_person_are_no_evidence(folder, judged, monkeypatch):
    service = service_of(folder)
    parts = service._parts

    def of_one_person(*times, held_out, max_sessions):
        found = parts(*times, held_out=held_out, max_sessions=max_sessions)
        return [replace(part, person="ada") for part in found] if held_out else found

    monkeypatch.setattr(service, "_parts", of_one_person)
    result = service.round()
    assert result.decision == "wait"
    assert result.reasons == ("held-out people with completed sessions: 1, must be at least 2",)
    service.close()


def test_it_goes_on_from_where_it_was_stopped(folder, judged):
    judged["off_policy_test"] = replace(judged["off_policy_test"], effective_sample_size=1.0)
    service = service_of(folder)
    service.round()
    learnt = weights_of(service.network)
    service.close()
    again = service_of(folder)
    assert np.array_equal(weights_of(again.network), learnt)
    assert again.round() is None
    again.close()


class Clock:
    """Seconds since 1970, as a test says."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def spread(folder: Path) -> None:
    """Let the sessions of ten people be received in each thousand seconds."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db:
        keys = "SELECT session FROM recommendations AS r WHERE r.key = recommendation"
        db.execute(f"UPDATE feedback SET received = 100.0 * (({keys}) - (SELECT min(number) FROM sessions)) + 50.0")
        db.commit()


@pytest.fixture
def replays(monkeypatch):
    """The numbers of sessions of the rounds that are replayed in each round."""
    found = []

    class Learner(service_module.OnlineLearner):
        def learn(self, sessions, replayed, importance):
            found.append([len(each) for each in replayed])
            return super().learn(sessions, replayed, importance)

    monkeypatch.setattr(service_module, "OnlineLearner", Learner)
    return found


@pytest.mark.parametrize("replayed_rounds", [0, 2, 4])
def test_as_many_earlier_rounds_are_replayed_as_configured(folder, replays, replayed_rounds):
    spread(folder)
    clock, learning = Clock(), OnlineConfig(replayed_rounds=replayed_rounds, deploy_every=100)
    service = service_of(folder, learning=learning, clock=clock)
    learnt = []
    for number in range(1, 5):
        clock.now = 1_000.0 * number
        learnt.append(service.round().num_sessions)
    assert replays == [learnt[max(n - replayed_rounds, 0) : n] for n in range(4)]
    service.close()


def test_deleted_people_are_in_no_later_round(folder, replays):
    spread(folder)
    clock = Clock()
    service = service_of(folder, learning=OnlineConfig(), clock=clock)
    first = service.round().num_sessions
    deleted = service._parts(0.0, 1_000.0, held_out=False, max_sessions=99)[0].person
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("DELETE FROM people WHERE person = ?", (deleted,))
        db.commit()
    clock.now = 2_000.0
    service.round()
    assert replays == [[], [first - 1]]
    service.close()


@pytest.mark.parametrize(("step", "decision"), [("add", "publish"), ("publish", "publish"), ("prune", "none")])
def test_a_loop_that_is_killed_in_a_decision_finishes_the_round(folder, judged, monkeypatch, step, decision):
    service = service_of(folder)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(service.versions, step, killed)  # after a publication, versions are pruned
    with pytest.raises(KeyboardInterrupt):
        service.round()
    service.close()
    again = service_of(folder)
    assert again.status == f"learning from version {again.versions.published}, from round 1 on"
    result = again.round()
    assert (result.number, result.decision) == (1, decision)
    assert again.round() is None
    assert again.num_completed == 0
    assert again.status == f"learning from version {again.versions.published}, from round 2 on"
    assert len((again.versions.folder / ROUNDS).read_text().splitlines()) == 1
    assert len(again.versions.history) == 2
    assert np.array_equal(weights_of(again.network), weights_of(again.versions.network_of(again.versions.published)))
    again.close()


@pytest.mark.parametrize("decision", ["publish", "refuse"])
def test_a_loop_that_is_killed_when_it_has_listed_a_round_does_not_repeat_it(folder, judged, monkeypatch, decision):
    if decision == "refuse":
        judged["off_policy_test"] = replace(judged["off_policy_test"], prediction=(float("nan"),) * 3)
    service = service_of(folder)

    def killed(*_):
        raise KeyboardInterrupt

    def killed_after(path, content):
        write_atomically(path, content)
        monkeypatch.setattr(service, "_save", killed)

    monkeypatch.setattr("agents.large_model.online.service.write_atomically", killed_after)
    with pytest.raises(KeyboardInterrupt):
        service.round()
    service.close()
    again = service_of(folder)
    assert again.round() is None
    assert again.num_completed == 0
    (line,) = map(json.loads, (again.versions.folder / ROUNDS).read_text().splitlines())
    assert (line["number"], line["decision"]) == (1, decision)
    assert again.rounds[0].version == (again.versions.published if decision == "publish" else None)
    assert np.array_equal(weights_of(again.network), weights_of(again.versions.network_of(again.versions.published)))
    again.close()


def test_a_damaged_list_of_rounds_is_refused_in_one_line(folder):
    (folder / "versions" / ROUNDS).write_text('{"number": 1')
    with pytest.raises(ValueError, match=r"rounds.jsonl: line 1 is not a round of online learning$"):
        service_of(folder)
    (folder / "versions" / ROUNDS).unlink()
    service_of(folder).close()


def test_a_clock_that_is_set_back_does_not_stop_it(folder, capsys):
    spread(folder)
    clock = Clock()
    service = service_of(folder, learning=OnlineConfig(), clock=clock)
    clock.now = 1e9
    assert service.round() is not None
    clock.now = 1_500.0
    assert service.round() is None
    assert "the clock is 999,998,500 s behind the last round" in capsys.readouterr().err
    clock.now = 3_000.0
    assert service.round() is not None
    assert capsys.readouterr().err == ""
    service.close()


def test_settings_that_falsify_the_off_policy_test_are_reported(folder, judged, capsys):
    service = service_of(folder)
    service.round()
    service.close()
    assert capsys.readouterr().err == ""
    changed = {"policy": ServedPolicy(selection="softmax"), "publication": replace(LENIENT, held_out=0.5)}
    service_of(folder, **changed).close()
    selection, held_out = capsys.readouterr().err.splitlines()
    assert selection.startswith("--selection softmax: the server's newest slate was selected by greedy")
    assert held_out.startswith("--seed 0 --held-out 0.5: were 0 and 0.25 before")


def test_damaged_checkpoints_are_an_error_that_says_how_to_go_on(folder, judged):
    service = service_of(folder)
    service.round()
    service.close()
    for path in (folder / "versions" / "learning").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"delete .*learning to learn from all feedback again"):
        service_of(folder)


def test_a_round_of_fewer_sessions_than_it_needs_is_refused():
    with pytest.raises(ValueError, match="min_sessions=9: must be at most max_sessions=8"):
        ServiceConfig(min_sessions=9, max_sessions=8)


def test_it_follows_a_roll_back(folder, judged):
    service = service_of(folder)
    first = service.versions.published
    service.round()
    service.versions.roll_back()
    assert service.round() is None  # nothing to learn from, but
    assert np.array_equal(weights_of(service.network), weights_of(service.versions.network_of(first)))
    service.close()


def test_one_process_at_a_time_learns_for_a_folder(folder):
    service = service_of(folder)
    with pytest.raises(ValueError, match="another process learns for these versions"):
        service_of(folder)
    service.close()
    service_of(folder).close()


def test_the_command_takes_rounds_and_says_what_was_decided(folder, capsys):
    paths = ["--database", str(folder / DATABASE), "--models", str(folder / "versions")]
    options = [
        "--rounds",
        "1",
        "--min-sessions",
        "2",
        "--idle-minutes",
        "0",
        "--deploy-every",
        "1",
        "--exploration",
        "0.5",
    ]
    assert main(["learn-online", *paths, *options]) == 0
    text = capsys.readouterr().out
    assert "round 1:" in text
    assert "not published yet: effective sample size" in text


def test_trackers_hold_every_round_once(folder, capsys):
    pytest.importorskip("tensorboard")
    paths = ["--database", str(folder / DATABASE), "--models", str(folder / "versions")]
    options = ["--rounds", "1", "--min-sessions", "2", "--idle-minutes", "0", "--exploration", "0.5"]
    assert main(["learn-online", *paths, *options, "--track", "tensorboard"]) == 0
    rounds = folder / "versions" / "rounds.jsonl"
    (line,) = map(json.loads, rounds.read_text().splitlines())
    learning = folder / "versions" / "learning"
    service = service_of(folder)
    with tracked_rounds(service, ["tensorboard"], []) as tracker:
        tracker.log(2, {"mean_return": 0.5})
    service.close()
    found = pairs(read_tensorboard(learning / "tensorboard")["mean_return"])
    assert found == [(1, np.float32(line["mean_return"])), (2, 0.5)]


def test_the_command_says_that_it_waits(folder, capsys, monkeypatch):
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("agents.large_model.commands.learn_online.time.sleep", sleep)
    paths = ["--database", str(folder / DATABASE), "--models", str(folder / "versions")]
    assert main(["learn-online", *paths, "--idle-minutes", "0"]) == 0
    captured = capsys.readouterr()
    start, waiting = captured.out.splitlines()
    assert start == f"learning from version {ModelVersions(folder / 'versions').published}, from round 1 on"
    assert waiting.endswith("of 96 are complete")
    assert captured.err == "stopped\n"


@pytest.mark.parametrize("option", ["--database", "--models"])
def test_missing_files_are_an_error_in_one_line(folder, capsys, option):
    paths = {"--database": folder / DATABASE, "--models": folder / "versions"} | {option: folder / "none"}
    arguments = [str(part) for each in paths.items() for part in each]
    assert main(["learn-online", *arguments, "--rounds", "1"]) == 2
    error = capsys.readouterr().err
    assert str(folder / "none") in error
    assert len(error.splitlines()) == 1
