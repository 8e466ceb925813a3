"""Exports are written whole or not at all, and what cannot be exported is refused."""

import os

import onnx
import pytest

from agents.large_model import export as exporting
from agents.large_model.__main__ import main
from agents.large_model.checkpoint import make_network
from agents.large_model.config import LanguageConfig
from agents.large_model.export import export_network
from agents.large_model.export_check import Agreement
from agents.networks.schema import Schema
from tests.small_language_models import WIDTH, save_language_model
from tests.small_large_models import env_of, network_for, small_config


@pytest.fixture
def network(monkeypatch):
    """A network whose graphs are not traced, which takes seconds."""
    monkeypatch.setattr(exporting, "onnx_of", lambda graph: onnx.ModelProto(producer_name=graph.name))
    return network_for(env_of("single items"))


def export_with(agreement: Agreement, network, folder, monkeypatch) -> None:
    found = {"fp32": {"start": agreement, "step": agreement}}
    monkeypatch.setattr(exporting, "agreements", lambda *arguments: found)
    export_network(network, folder)


def test_an_export_that_scores_differently_leaves_the_older_one(network, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    export_with(Agreement(10, 1e-6, 1.0), network, folder, monkeypatch)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {"items.onnx", "start.onnx", "step.onnx", "model.json"} == set(before)
    with pytest.raises(ValueError, match=r"the graph start differs from PyTorch: logits by up to 0.2 \(at most 0.0001"):
        export_with(Agreement(10, 0.2, 1.0), network, folder, monkeypatch)
    with pytest.raises(ValueError, match=r"the best candidate is the same in 90.00% of observations"):
        export_with(Agreement(10, 1e-6, 0.9), network, folder, monkeypatch)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder], "nothing is left beside it"


def test_an_interrupted_export_leaves_nothing(network, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "agreements", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_network(network, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_new_export_replaces_an_older_one_and_nothing_else(network, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    for _ in range(2):
        export_with(Agreement(10, 1e-6, 1.0), network, folder, monkeypatch)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    for path in (other, other / "thesis.txt"):
        with pytest.raises(ValueError, match="exists, and is no export; must be a new folder or an export"):
            export_with(Agreement(10, 1e-6, 1.0), network, path, monkeypatch)
    assert (other / "thesis.txt").read_text() == "years of work"


def test_an_older_export_is_back_where_the_new_one_cannot_take_its_place(network, tmp_path, monkeypatch):
    folder, rename = tmp_path / "model", os.rename
    export_with(Agreement(10, 1e-6, 1.0), network, folder, monkeypatch)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def rename_others(source, target):
        if source.suffix == ".new":
            raise PermissionError("not now")
        rename(source, target)

    monkeypatch.setattr(exporting.os, "rename", rename_others)
    with pytest.raises(PermissionError, match="not now"):
        export_with(Agreement(10, 1e-6, 1.0), network, folder, monkeypatch)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder], "nothing is left beside it"


def test_a_language_model_is_refused_in_one_line(tmp_path, capsys):
    schema = Schema.of([env_of("single items").simulator], has_images=False)
    language = LanguageConfig(name=save_language_model(tmp_path / "language"))
    network = make_network(small_config(width=WIDTH), schema, language)
    with pytest.raises(ValueError, match="the backbone is a language model, which cannot be exported") as error:
        export_network(network, tmp_path / "model")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


def test_a_missing_model_ends_in_one_line(tmp_path, capsys):
    assert main(["export", "--model", str(tmp_path / "none"), "--out", str(tmp_path / "model")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
