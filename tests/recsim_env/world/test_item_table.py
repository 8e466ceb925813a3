"""A table of items is a catalogue to recommend from, without users to simulate."""

import numpy as np
import pytest

from recsim_env.envs.vector import RecommenderVectorEnv
from recsim_env.simulation.relevance import MAX_AGE
from recsim_env.world.catalog import PRICE_FEATURE

ROWS = """item,title,genres,year,creator,price,impressions,clicks,num_ratings,mean_rating
a1,Amazing football,sports,2020,Ann,10,100,20,10,4
b2,"Cooking, slowly",food|home,2021,Bob,30,63,3,0,
c3,New,food,2024,Ann,,,,,
d4,,home,2000,Cy,20,1,1,1,5
"""


def items_env(tmp_path, text: str = ROWS, **arguments) -> RecommenderVectorEnv:
    (tmp_path / "items.csv").write_text(text)
    settings = {"observation": "compact", "num_candidates": 2, **arguments}
    return RecommenderVectorEnv(1, "Items", world=tmp_path / "items.csv", **settings)


def test_items_have_the_content_and_the_statistics_of_their_rows(tmp_path):
    env = items_env(tmp_path)
    world = env.simulator.world
    assert world.items.ids == ("a1", "b2", "d4", "c3")  # new ones last
    assert [world.items.title(n) for n in range(4)] == ["Amazing football", "Cooking, slowly", "d4", "New"]
    assert world.items.feature_names == ("food", "home", "sports", "year", PRICE_FEATURE)
    np.testing.assert_allclose(world.items.features[1], [1.0, 1.0, 0.0, 0.75, 0.6], atol=1e-6)
    np.testing.assert_allclose(world.items.features[:, 4], [1 / 3, 0.6, 0.5, 0.5], atol=1e-6)  # unknown: average
    assert world.items.creators.tolist() == [0, 1, 2, 0]
    last = env.catalog_statistics[-1]
    np.testing.assert_allclose(last[0], [np.log2(101) / 32, 0.2, 0.8], atol=1e-6)
    np.testing.assert_allclose(last[1], [6 / 32, 3 / 63, 0.0], atol=1e-6)
    np.testing.assert_array_equal(last[3], 0.0)


def test_items_without_impressions_are_new_and_the_others_old(tmp_path):
    env = items_env(tmp_path)
    (time, num_times), releases = env.simulator.world.session_starts(40), env.catalog_release_steps
    assert num_times == 1
    assert (time - releases).tolist() == [512, 512, 512, 0]
    assert (time - releases).max() <= MAX_AGE


def test_items_are_for_sale_if_they_have_prices(tmp_path):
    assert items_env(tmp_path).simulator.world.scenario.behaviour.is_shop
    without = "item,title\na,One\nb,Two\n"
    assert not items_env(tmp_path, without).simulator.world.scenario.behaviour.is_shop


def test_a_predicted_answer_grows_with_clicks_and_ratings(tmp_path):
    records = items_env(tmp_path).simulator.world.item_records
    known = dict(zip(("a1", "b2", "d4", "c3"), records["mean_answers"][:, -1], strict=True))
    assert known["a1"] > known["b2"]
    assert known["a1"] > known["c3"]  # which is judged by its content


def test_nobody_is_simulated(tmp_path):
    with pytest.raises(ValueError, match="Items: a table of items has no users to simulate"):
        items_env(tmp_path).reset(seed=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title\na\nb\n", r"items.csv:1: must have a column of item ids, such as item; got title"),
        ("item\na\n", r"items.csv: 1 items, must be at least 2"),
        ("item,clicks\na,1\nb,\n", r"items.csv:2: clicks=1: must be at most impressions=0"),
        ("item,impressions\na,3\nb,-1\n", r"items.csv:3: impressions='-1': must be a number in \[0, .*\], or empty"),
        ("item,price\na,cheap\nb,1\n", r"items.csv:2: price='cheap': must be a number in \[0, 1e\+12\], or empty"),
        ("item,mean_rating\na,6\nb,\n", r"items.csv:2: mean_rating='6': must be a number in \[1, 5\], or empty"),
        (
            "item,impressions,clicks,num_ratings\na,9,5,2\nb,,,\n",
            r"items.csv:2: mean_rating: must be given with num_ratings above 0",
        ),
        ("item\na\na\n", r"items.csv:3: item 'a' is empty or appears twice"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as refused:
        items_env(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_a_table_has_no_splits_and_must_be_given(tmp_path):
    with pytest.raises(ValueError, match="split='test': must be 'all' in Items, whose table is not divided"):
        items_env(tmp_path, split="test")
    with pytest.raises(FileNotFoundError, match="Items needs world=: a table of items with a column of ids"):
        RecommenderVectorEnv(1, "Items")
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no such file; Items needs"):
        RecommenderVectorEnv(1, "Items", world=tmp_path / "none.csv")
