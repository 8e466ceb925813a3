"""Sources of candidates: random, popular, similar to what the user liked, or a mixture."""

import gymnasium
import numpy as np
import pytest

from recsim_env.config import CANDIDATE_SOURCES
from recsim_env.simulation.records import NO_ITEM


def candidates_of(source: str, num_steps: int = 20, **arguments):
    """The mean over steps of the candidates' mean answer over all users, and of this user's expected answer."""
    envs = gymnasium.make_vec("recsim_env/Video-v0", 256, candidates=source, **arguments)
    envs.reset(seed=0)
    simulator = envs.unwrapped.simulator
    popularity, deviation = [], []
    for step in range(num_steps):
        candidates, sessions = simulator.sessions["candidates"], simulator.sessions
        assert all(len(set(row)) == len(row) for row in candidates.tolist())
        assert (candidates >= sessions["first_item"][:, None]).all()
        assert (candidates < sessions["end_item"][:, None]).all()
        items = simulator.world.item_records[candidates]
        if step >= num_steps // 2:  # the platform knows something about the user
            popularity.append(items["mean_answers"][:, :, -1].mean())
            tastes = sessions["tastes"][:, None, :]
            deviation.append((items["answer_factors"][:, :, -1] * tastes).sum(2).mean())
        envs.step(np.zeros(256, np.int64))
    return np.mean(popularity), np.mean(deviation)


def test_each_source_offers_what_its_name_says():
    found = {source: candidates_of(source) for source in CANDIDATE_SOURCES}
    popularity, deviation = ({source: pair[k] for source, pair in found.items()} for k in (0, 1))
    assert max(popularity, key=popularity.get) == "popular"
    assert max(deviation, key=deviation.get) == "similar"
    for means in (popularity, deviation):
        highest = max(means.values())
        assert means["random"] < means["mixed"] < highest
        assert highest - means["random"] > 0.1


@pytest.mark.parametrize("source", CANDIDATE_SOURCES)
def test_all_available_items_are_offered_where_there_are_few(source):
    overrides = {"catalog": {"num_items": 12, "arrivals_per_step": 0.0, "repeat_after": 0}}
    envs = gymnasium.make_vec("recsim_env/Video-v0", 4, candidates=source, num_candidates=12, overrides=overrides)
    envs.reset(seed=0)
    assert (np.sort(envs.unwrapped.simulator.sessions["candidates"], 1) == np.arange(12)).all()
    consumed_once = {
        "catalog": {**overrides["catalog"], "repeat_after": 10**9},
        "behaviour": {"choice_intercept": 50.0},
    }
    envs = gymnasium.make_vec("recsim_env/Video-v0", 4, candidates=source, num_candidates=12, overrides=consumed_once)
    envs.reset(seed=0)
    envs.step(np.zeros(4, np.int64))
    assert ((envs.unwrapped.simulator.sessions["candidates"] == NO_ITEM).sum(1) == 1).all()


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="candidates='best': must be one of random, popular, similar, mixed"):
        gymnasium.make("recsim_env/Video-v0", candidates="best")


def test_new_items_have_their_share_with_every_source():
    overrides = {"catalog": {"new_item_share": 0.5, "new_item_age": 60, "repeat_after": 0}}
    for source in CANDIDATE_SOURCES:
        envs = gymnasium.make_vec("recsim_env/Video-v0", 50, candidates=source, overrides=overrides)
        envs.reset(seed=0)
        sessions = envs.unwrapped.simulator.sessions
        is_new = sessions["candidates"] >= sessions["first_new_item"][:, None]
        assert (is_new.sum(1) == 10).all()
