"""Exports that are written at once, as most tests of versions do not score anything with them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from agents.large_model.config import INPUT_VERSION
from agents.large_model.export import version_of
from agents.large_model.model import LargeModelNetwork
from agents.large_model.serving.export_folder import DESCRIPTION, FORMAT_VERSION
from tests.small_large_models import env_of, network_for, perturbed


def write_stand_in(network: LargeModelNetwork, folder: Path, **_: Any) -> None:
    """In place of `export_network`."""
    folder.mkdir()
    settings = {"input_version": INPUT_VERSION}
    content = {"format": FORMAT_VERSION, "version": version_of(network), "files": {}, "settings": settings}
    (folder / DESCRIPTION).write_text(json.dumps(content))


def networks(number: int) -> list[LargeModelNetwork]:
    """Small networks with different weights."""
    first = network_for(env_of("single items", 1), num_layers=1)
    return [perturbed(copy.deepcopy(first), seed=seed) for seed in range(number)]


@pytest.fixture
def stand_in_exports(monkeypatch):
    monkeypatch.setattr("agents.large_model.export.export_network", write_stand_in)
