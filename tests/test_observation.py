"""The three kinds of observation say the same, and say what they promise."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from trajectories import random_actions, same

from recsim_env.traffic import NUM_REFRESHES
from recsim_env.observation import CANDIDATE_COLUMNS, FEEDBACK, MAX_AGE, REFRESH_AT, SCALED_AGE, ObservationLayout
from recsim_env.records import NO_ITEM


def rebuilt(compact: dict[str, np.ndarray], features: np.ndarray, statistics: np.ndarray) -> dict[str, np.ndarray]:
    """The dict observations [N, ...] from compact ones and the catalogue, as a learner on a GPU gathers them."""
    history_items, candidate_items = compact["history_items"], compact["candidate_items"]
    feedback = compact["history_feedback"].reshape(*history_items.shape, len(FEEDBACK))
    is_used = (history_items != NO_ITEM)[..., None]
    history = np.concatenate([features[history_items] * is_used, feedback], -1)
    ages = compact["candidate_ages"]
    known = statistics[REFRESH_AT[ages], candidate_items]
    candidates = np.concatenate([features[candidate_items], SCALED_AGE[ages][..., None], known], -1)
    candidates = candidates * compact["candidate_mask"][..., None]
    return {
        "user": compact["user"],
        "history": history.reshape(len(history), -1),
        "candidates": candidates.reshape(len(candidates), -1),
        "candidate_mask": compact["candidate_mask"],
    }


@pytest.mark.parametrize("shelf_life", [None, 25])
def test_compact_observations_and_the_catalogue_rebuild_the_dict_exactly(env_id, shelf_life):
    options = {} if shelf_life is None else {"scenario": with_short_shelves(env_id, shelf_life)}
    by_kind = {
        kind: gymnasium.make_vec(env_id, 16, observation=kind, **options) for kind in ("dict", "flat", "compact")
    }
    observations = {kind: env.reset(seed=2)[0] for kind, env in by_kind.items()}
    compact_env = by_kind["compact"]
    features, statistics = compact_env.catalog_features, compact_env.catalog_statistics
    for actions in random_actions(compact_env.action_space, np.random.default_rng(0), 60):
        expected = rebuilt(observations["compact"], features, statistics)
        for name, values in observations["dict"].items():
            np.testing.assert_array_equal(values, expected[name], err_msg=name)
        parts = [observations["dict"][name] for name in ("user", "history", "candidates", "candidate_mask")]
        assert same(np.concatenate(parts, 1), observations["flat"])
        observations = {kind: env.step(actions)[0] for kind, env in by_kind.items()}
    if shelf_life is not None:
        assert (observations["compact"]["candidate_items"] == NO_ITEM).any()


def with_short_shelves(env_id: str, shelf_life: int):
    scenario = gymnasium.make(env_id).unwrapped.simulator.world.scenario
    catalog = dataclasses.replace(scenario.catalog, shelf_life=shelf_life, arrivals_per_step=0.6)
    return dataclasses.replace(scenario, catalog=catalog)


def test_parts_are_consecutive_slices_of_the_flat_vector():
    layout = ObservationLayout(
        num_profile_features=4, num_content_features=6, num_items=100, num_candidates=3, history_length=2
    )
    assert layout.slices == {
        "user": slice(0, 5),
        "history": slice(5, 5 + 2 * 11),
        "candidates": slice(27, 27 + 3 * 10),
        "candidate_mask": slice(57, 60),
    }
    assert layout.size == 60
    assert layout.space("flat").shape == (60,)
    flat = np.arange(120.0).reshape(2, 60)
    parts = layout.parts(flat)
    assert {name: values.shape for name, values in parts.items()} == {
        name: (2, *box.shape) for name, box in layout.space("dict").items()
    }
    assert parts["history"][1, 0] == 60 + 5
    assert all(np.shares_memory(values, flat) for values in parts.values())


def test_history_begins_with_what_was_shown_last():
    env = gymnasium.make("recsim_env/Video-v0", observation="compact", history_length=20).unwrapped
    observation, _ = env.reset(seed=1)
    assert (observation["history_items"] == NO_ITEM).all()
    assert not observation["history_feedback"].any()
    shown = []
    for step in range(30):
        shown.insert(0, observation["candidate_items"][step % 20])
        env.simulator.sessions["patience"] = 8.0  # nobody leaves
        observation, _, _, truncated, info = env.step(step % 20)
        kept = shown[:20]
        assert observation["history_items"][: len(kept)].tolist() == kept
        assert (observation["history_items"][len(kept) :] == NO_ITEM).all()
        feedback = observation["history_feedback"].reshape(20, len(FEEDBACK))
        assert (feedback[:, 0] == (observation["history_items"] != NO_ITEM)).all()
        assert feedback[0, 2] == info["click"]
        assert feedback[0, 3] == np.float32(info["consumption"])
        assert feedback[0, 4] in (0.0, np.float32(info["rating"] / 5.0))
        assert not feedback[feedback[:, 2] == 0.0, 3:].any()
        assert not truncated


def test_the_last_slot_of_a_slate_is_the_first_row_of_the_history():
    env = gymnasium.make("recsim_env/VideoSlate-v0", observation="compact").unwrapped
    observation, _ = env.reset(seed=1)
    slate = np.array([4, 0, 4, 7, 2])
    items = observation["candidate_items"]
    observation, *_ = env.step(slate)
    assert observation["history_items"][:5].tolist() == [*items[[2, 7, 0, 4]], NO_ITEM]  # slot 2 stayed empty
    slots = observation["history_feedback"].reshape(20, len(FEEDBACK))[:4, 1]
    assert slots == pytest.approx([0.4, 0.3, 0.1, 0.0])


def test_user_part_is_the_profile_and_the_share_of_the_session_that_is_over():
    env = gymnasium.make("recsim_env/Video-v0", session_length=4).unwrapped
    observation, _ = env.reset(seed=1)
    profile = env.simulator.world.users.profiles[env.simulator.sessions["user"][0]]
    for step in range(5):
        assert same(observation["user"], np.append(profile, np.float32(step / 4)))
        if step < 4:
            env.simulator.sessions["patience"] = 8.0  # nobody leaves
            observation, *_ = env.step(0)


def test_items_just_released_have_no_statistics_and_older_ones_have(scenario_name):
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}-v0", 256)
    num_new = num_old = 0
    for seed in range(4):
        observations, _ = envs.reset(seed=1_000 * seed)
        sessions = envs.simulator.sessions
        released = envs.simulator.world.item_records["release_step"][sessions["candidates"]]
        ages = sessions["start_step"][:, None] - released
        rows = observations["candidates"].reshape(256, *envs.simulator.layout.candidates_shape)
        known = rows[..., -len(CANDIDATE_COLUMNS) :]
        assert known[..., 0] == pytest.approx(np.log2(1.0 + ages) / NUM_REFRESHES, abs=1e-6)
        assert not known[ages == 0].any()
        old = known[ages > 200]
        assert (old[:, 1] > 0.0).mean() > 0.9  # impressions
        num_new, num_old = num_new + (ages == 0).sum(), num_old + len(old)
    assert num_new > 10
    assert num_old > 1_000


def test_statistics_are_refreshed_at_doubling_ages():
    ages = np.arange(MAX_AGE + 1)
    assert (np.diff(REFRESH_AT) >= 0).all()
    assert np.flatnonzero(np.diff(REFRESH_AT)).tolist() == [2**k - 1 for k in range(NUM_REFRESHES - 1)]
    assert REFRESH_AT[0] == 0
    assert REFRESH_AT[-1] == NUM_REFRESHES - 1
    assert pytest.approx(np.log2(1.0 + ages) / NUM_REFRESHES) == SCALED_AGE


def test_ages_beyond_the_last_refresh_are_only_called_old():
    env = gymnasium.make("recsim_env/Video-v0", observation="compact").unwrapped
    env.reset(seed=0)
    env.simulator.sessions["start_step"] += 10 * MAX_AGE
    compact, flat = env.simulator.observe("compact"), env.simulator.observe("flat")
    assert (compact["candidate_ages"] == MAX_AGE).all()
    rows = env.simulator.layout.parts(flat)["candidates"].reshape(env.simulator.layout.candidates_shape)
    assert (rows[:, -4] == SCALED_AGE[-1]).all()


def test_observing_some_sessions_gives_their_rows(observation_kind):
    envs = gymnasium.make_vec("recsim_env/Video-v0", 6, observation=observation_kind)
    everything, _ = envs.reset(seed=0)
    some = envs.simulator.observe(observation_kind, np.array([4, 1]))
    if observation_kind == "flat":
        assert same(some, everything[[4, 1]])
    else:
        assert all(same(some[name], values[[4, 1]]) for name, values in everything.items())
