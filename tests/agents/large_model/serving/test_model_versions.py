"""A folder of versions is whole even if a process is killed, and records publications, withdrawals and reasons."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from conftest import CHECKOUT
from stand_in_exports import networks, stand_in_exports, write_stand_in  # noqa: F401 (a fixture)

from agents.large_model.__main__ import main
from agents.large_model.export import version_of
from agents.large_model.serving.export_folder import read_description
from agents.large_model.serving.model_versions import STATE, ModelVersions

pytestmark = pytest.mark.usefixtures("stand_in_exports")

NETWORKS = networks(5)
A, B, C, D, E = map(version_of, NETWORKS)


@pytest.fixture
def versions(tmp_path):
    return ModelVersions.create(tmp_path / "models", NETWORKS[0])


def published_in_turn(versions: ModelVersions, *others: int) -> ModelVersions:
    for number in others:
        versions.publish(versions.add(NETWORKS[number]), f"number {number}")
    return versions


def test_the_first_version_is_published(versions):
    assert versions.published == A
    (first,) = versions.history
    assert (first.version, first.evidence, first.withdrawn) == (A, {}, None)
    assert ModelVersions(versions.folder).history == [first]


def test_a_version_has_an_export_and_its_weights(versions):
    version = versions.add(NETWORKS[1], {"score": 0.4})
    assert version == B
    assert versions.published == A
    assert versions.evidence_of(B) == {"score": 0.4}
    assert read_description(versions.export_of(B))["version"] == B
    found = versions.network_of(B)
    assert all(torch.equal(weight, NETWORKS[1].state_dict()[name]) for name, weight in found.state_dict().items())


def test_adding_a_version_twice_changes_nothing(versions):
    versions.add(NETWORKS[1], {"score": 0.4})
    before = (versions.folder / STATE).read_bytes()
    assert versions.add(NETWORKS[1], {"score": 0.9}) == B
    assert (versions.folder / STATE).read_bytes() == before
    assert versions.versions == [A, B]


def test_a_publication_has_a_reason_and_evidence(versions):
    versions.add(NETWORKS[1])
    versions.publish(B, "better in the log", {"difference": [0.01, 0.03]})
    last = versions.history[-1]
    assert (last.version, last.reason, last.evidence) == (B, "better in the log", {"difference": [0.01, 0.03]})
    assert last.time >= versions.history[0].time
    versions.publish(B, "again")
    assert versions.history[-1] == last


def test_a_roll_back_withdraws_the_present_version(versions):
    published_in_turn(versions, 1, 2)
    assert versions.roll_back() == versions.published == B
    assert [versions.is_withdrawn(each) for each in (A, B, C)] == [False, False, True]
    assert (versions.history[-1].version, versions.history[-1].withdrawn) == (B, C)
    assert versions.roll_back() == A
    assert [versions.is_withdrawn(each) for each in (A, B, C)] == [False, True, True]
    with pytest.raises(ValueError, match=f"no version was published before {A}"):
        versions.roll_back()


def test_a_roll_back_leads_past_versions_that_were_withdrawn(versions):
    published_in_turn(versions, 1).roll_back()
    published_in_turn(versions, 2)
    assert versions.roll_back() == A
    published_in_turn(versions, 3, 4)
    assert versions.roll_back(to=A) == A
    with pytest.raises(ValueError, match="no version was published before"):
        versions.roll_back()
    assert not versions.is_withdrawn(D)


def test_only_a_roll_back_restores_a_withdrawn_version(versions):
    published_in_turn(versions, 1).roll_back()
    with pytest.raises(ValueError, match=f"version '{B}': is withdrawn; only a roll-back to it"):
        versions.publish(B, "again")
    assert versions.roll_back(to=B) == B
    assert [versions.is_withdrawn(each) for each in (A, B)] == [True, False]


def test_unknown_versions_are_named_with_those_there_are(versions):
    uses = (
        lambda: versions.publish("none", ""),
        lambda: versions.roll_back("none"),
        lambda: versions.export_of("none"),
        lambda: versions.network_of("none"),
    )
    for use in uses:
        with pytest.raises(ValueError, match=f"version 'none': not in .*models, must be one of {A}"):
            use()
    with pytest.raises(ValueError, match="is published already"):
        versions.roll_back(to=A)


@pytest.mark.parametrize("keep", [0, 1, 9])
def test_pruning_keeps_the_newest_the_published_one_and_the_one_before(versions, keep):
    published_in_turn(versions, 1, 2)
    for number in (3, 4):
        versions.add(NETWORKS[number])
    deleted = {0: [A, D, E], 1: [A, D], 9: []}[keep]
    assert versions.prune(keep) == deleted
    assert versions.versions == [each for each in (A, B, C, D, E) if each not in deleted]
    folders = {path.name for path in versions.folder.iterdir() if path.is_dir()}
    assert folders == set(versions.versions)
    assert versions.roll_back() == B
    assert versions.history[0].version == A


def test_evidence_that_json_cannot_hold_changes_nothing(versions):
    versions.add(NETWORKS[1])
    before = (versions.folder / STATE).read_bytes()
    for evidence in ({"score": float("nan")}, {"score": object()}):
        with pytest.raises((TypeError, ValueError)):
            versions.publish(B, "better", evidence)
    assert (versions.folder / STATE).read_bytes() == before


def test_processes_that_change_a_folder_at_once_wait_for_each_other(versions):
    added = []
    threads = [
        threading.Thread(target=lambda n=n: added.append(ModelVersions(versions.folder).add(NETWORKS[n])))
        for n in (1, 2, 3, 1, 2, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(added) == sorted([B, C, D] * 2)
    assert sorted(versions.versions) == sorted([A, B, C, D])


STEPS = ("os.rename", "os.replace", "os.fsync", "shutil.rmtree")
"""What a change of a folder consists of."""


def killed_at(moment: int, change) -> bool:
    """Run a change in a process that is killed just before the step with that number; whether it came so far."""
    process = os.fork()
    if process == 0:
        with pytest.MonkeyPatch.context() as patch:
            numbers = itertools.count()

            def step(original, *arguments, **options):
                if next(numbers) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments, **options)

            for name in STEPS:
                module, _, function = name.partition(".")
                original = getattr(sys.modules[module], function)
                patch.setattr(name, lambda *a, original=original, **o: step(original, *a, **o))
            change()
        os._exit(0)
    return os.waitpid(process, 0)[1] == signal.SIGKILL


def whole(versions: ModelVersions) -> tuple[list[str], list[str]]:
    """The versions and what was published, after a look at every part."""
    for version in versions.versions:
        assert read_description(versions.export_of(version))["version"] == version
        assert version_of(versions.network_of(version)) == version
    return versions.versions, [each.version for each in versions.history]


CHANGES = {
    "publish": (lambda it: published_in_turn(it, 3), [A, B, C, D], [A, B, C, D]),
    "roll back": (lambda it: it.roll_back(), [A, B, C], [A, B, C, B]),
    "prune": (lambda it: it.prune(0), [B, C], [A, B, C]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_process_that_is_killed_leaves_the_old_or_the_new_state(tmp_path, name):
    change, versions_after, history_after = CHANGES[name]
    for moment in itertools.count():
        versions = ModelVersions.create(tmp_path / f"models{moment}", NETWORKS[0])
        before = whole(published_in_turn(versions, 1, 2))
        is_killed = killed_at(moment, lambda versions=versions: change(versions))
        between = (versions_after, before[1])  # added, and not published yet
        assert whole(versions) in (before, between, (versions_after, history_after))
        if not is_killed:
            break
        if whole(versions)[1] == before[1]:
            change(versions)
        versions.prune(9)
        assert whole(versions) == (versions_after, history_after)
        assert {path.name for path in versions.folder.iterdir() if path.is_dir()} == set(versions_after), "no leftovers"
    assert moment >= 2


def test_other_folders_are_refused_in_one_line(tmp_path, versions):
    for content in (None, "no JSON", "[]", '{"format": 1, "versions": {}, "history": []}'):
        folder = tmp_path / "other"
        folder.mkdir(exist_ok=True)
        if content is not None:
            (folder / STATE).write_text(content)
        with pytest.raises(ValueError, match=r"other: not a folder of versions; must be made by `versions --create`"):
            ModelVersions(folder)
    state = json.loads((versions.folder / STATE).read_text())
    (versions.folder / STATE).write_text(json.dumps({**state, "format": 99}))
    with pytest.raises(ValueError, match="versions in format 99, must be 1"):
        ModelVersions(versions.folder)
    with pytest.raises(ValueError, match="must not exist, or be an empty folder"):
        ModelVersions.create(versions.folder, NETWORKS[0])


def test_a_network_that_cannot_be_exported_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.large_model.export.export_network", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ModelVersions.create(tmp_path / "models", NETWORKS[0])
    assert list(tmp_path.iterdir()) == []


def test_commands_create_list_and_roll_back(tmp_path, capsys):
    folder = tmp_path / "models"
    assert main(["versions", "--models", str(folder), "--create", "pretrained"]) == 0
    first = ModelVersions(folder).published
    assert f"version {first} is published" in capsys.readouterr().out
    versions = published_in_turn(ModelVersions(folder), 1, 2)
    versions.add(NETWORKS[3], {"score": 0.4})
    assert main(["rollback", "--models", str(folder)]) == 0
    assert capsys.readouterr().out == f"version {B} is published; {C} is withdrawn\n"
    assert main(["versions", "--models", str(folder)]) == 0
    rows = [line.strip("│").split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    marks = [(row[0].strip(), row[-1].strip()) for row in rows]
    assert marks == [(first, ""), (B, ""), (C, "withdrawn"), (B, "published"), (D, "")]
    assert main(["versions", "--models", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["published"] == B
    assert [each["is_withdrawn"] for each in found["versions"]] == [False, False, True, False]
    assert found["versions"][3]["evidence"] == {"score": 0.4}
    assert [each["version"] for each in found["history"]] == [first, B, C, B]
    assert main(["rollback", "--models", str(folder), "--to", A]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_is_rolled_back_without_torch(versions):
    published_in_turn(versions, 1)
    program = "import sys; sys.modules['torch'] = None; from agents.large_model.__main__ import main; "
    program += "sys.exit(main(['rollback', '--models', sys.argv[1]]))"
    command = [sys.executable, "-c", program, str(versions.folder)]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert versions.published == A
