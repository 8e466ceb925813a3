"""Statistics of items in units that networks can use."""

import gymnasium
import numpy as np
import torch

import recsim_env  # noqa: F401
from recsim_env.sb3.network_units import with_network_units
from recsim_env.simulation.network_units import in_network_units
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, STATISTICS


def test_statistics_in_network_units_by_hand():
    assert STATISTICS == ("impressions", "click_rate", "mean_rating")
    observed = torch.tensor([[10.0 / 32.0, 0.75, 4.5 / 5.0], [5.0 / 32.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected = [[1.0, 1.0, 1.5], [0.5, -2.0, 0.0], [0.0, 0.0, 0.0]]  # log2(1 + n) / 10, 4 (rate - 0.5), mean rating - 3
    np.testing.assert_allclose(in_network_units(observed), expected, atol=1e-6)


def test_only_the_statistics_of_candidates_change():
    candidates = torch.rand(2, 3, 4 + len(CANDIDATE_COLUMNS))
    found = with_network_units(candidates)
    first = 4 + CANDIDATE_COLUMNS.index("impressions")
    np.testing.assert_array_equal(found[..., first : first + 3], in_network_units(candidates[..., first : first + 3]))
    others = [column for column in range(candidates.shape[-1]) if not first <= column < first + 3]
    np.testing.assert_array_equal(found[..., others], candidates[..., others])


def test_statistics_of_old_items_differ_by_about_one_in_network_units():
    env = gymnasium.make_vec("recsim_env/Video-v0", 1, vectorization_mode="vector_entry_point", observation="compact")
    observed = torch.tensor(env.unwrapped.catalog_statistics[-1])
    before, after = observed[:, 1:].std(0), in_network_units(observed)[:, 1:].std(0)
    assert (before < 0.25).all()
    assert ((after > 0.4) & (after < 2.0)).all()
