"""The item reader finds quality and appeal in titles, images and audio of catalogues that it was not trained on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.networks.item_reader import ItemReader, trained_item_reader
from agents.networks.schema import READINGS
from recsim_env.scenarios import SCENARIOS
from recsim_env.world.world import build_world


@pytest.fixture(scope="module")
def reader():
    return trained_item_reader(num_catalogs=6)


@pytest.fixture(scope="module")
def items():
    """Of Music, which has audio."""
    return build_world(SCENARIOS["Music"], catalog_seed=5, split="test").items


def explained(readings, items, name):
    latent = getattr(items, name.split()[0])
    return 1.0 - np.mean((readings[:, READINGS.index(name)] - latent) ** 2) / np.var(latent)


@pytest.mark.parametrize(
    ("name", "least"),
    [("appeal by title", 0.25), ("appeal by image", 0.3), ("quality by audio", 0.3), ("quality by title", 0.05)],
)
def test_readings_explain_latent_attributes_of_items_in_an_unseen_scenario(reader, items, name, least):
    assert explained(reader.read(items), items, name) > least


def test_what_is_missing_or_unknown_reads_as_zero(reader, items):
    bare = replace(items, title=lambda item: "Zzyzx quux", images=None, audio=None)
    assert np.all(reader.read(bare) == 0.0)
    without_audio = reader.read(replace(items, audio=None))
    whole = reader.read(items)
    assert np.all(without_audio[:, 4:] == 0.0)
    np.testing.assert_array_equal(without_audio[:, :4], whole[:, :4])


def test_the_same_seed_trains_the_same_reader():
    first, second = (trained_item_reader(num_catalogs=1, seed=3) for _ in range(2))
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])


def test_a_frozen_reader_is_saved_but_not_trained(reader):
    frozen = ItemReader().frozen()
    assert list(frozen.parameters()) == []
    assert frozen.state_dict().keys() == reader.state_dict().keys()
