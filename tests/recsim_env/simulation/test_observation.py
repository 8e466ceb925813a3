"""The kinds of observation agree with each other and with their documentation."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from tiny_world import CERTAIN, make_simulator, show
from trajectories import random_actions, same

from recsim_env.simulation.observation import (
    CANDIDATE_COLUMNS,
    FEEDBACK,
    OBSERVATION_KINDS,
    RELEVANCE_COLUMNS,
    SCALED_AGE,
    USER_FEEDBACK,
    ObservationLayout,
    num_impressions,
    scaled_impressions,
)
from recsim_env.simulation.records import NO_ITEM, NUM_REFRESHES, REFRESHES_PER_ESTIMATE
from recsim_env.simulation.relevance import MAX_AGE, REFRESH_AT


def rebuilt(compact: dict[str, np.ndarray], simulator) -> dict[str, np.ndarray]:
    """The `"full"` observations [N, ...] from compact ones and the catalogue, as a learner on a GPU gathers them.

    Whom a user follows is read from the latent state: the history tells it, but not for ever.
    """
    world = simulator.world
    features, release, creators = world.items.features, world.item_records["release_step"], world.items.creators
    history_items, items = compact["history_items"], compact["candidate_items"]
    feedback = compact["history_feedback"].reshape(*history_items.shape, len(FEEDBACK))
    column = {name: feedback[..., k].astype(np.float64) for k, name in enumerate(FEEDBACK)}
    history = np.concatenate([features[history_items] * (history_items != NO_ITEM)[..., None], feedback], -1)

    ages = np.minimum(compact["time"] - release[items], MAX_AGE)
    known = world.item_statistics[REFRESH_AT[ages], items].astype(np.float64)
    ratings = np.rint(5.0 * column["rating"])
    outcomes = np.stack([column["shown"], column["click"], ratings > 0.0, ratings], -1)
    own = np.einsum("nmh,nhk->nmk", history_items[:, None] == items[..., None], outcomes)
    more = own if simulator.live_platform is None else simulator.live_platform.counts[items]
    impressions = 2.0 ** (32.0 * known[..., 0]) - 1.0
    total, ratings = impressions + more[..., 0], known[..., 3] + more[..., 2]
    mean_answers = world.item_records["mean_answers"][items, REFRESH_AT[ages]]
    factors = world.item_records["answer_factors"][items, REFRESH_AT[ages] // REFRESHES_PER_ESTIMATE].astype(np.float64)
    deviation = np.einsum("nmd,nd->nm", factors, simulator.sessions["tastes"])
    posterior = np.einsum("nmd,nde,nme->nm", factors, simulator.sessions["taste_covariance"], factors)
    evidence = 1.0 - posterior / np.maximum((factors**2).sum(-1), 1e-300)
    candidates = (
        np.concatenate(
            [
                features[items],
                SCALED_AGE[ages][..., None],
                np.log2(1.0 + total)[..., None] / 32.0,
                ((known[..., 1] * impressions + more[..., 1]) / np.maximum(total, 1.0))[..., None],
                ((known[..., 2] * known[..., 3] + more[..., 3] / 5.0) / np.maximum(ratings, 1.0))[..., None],
                np.take_along_axis(simulator.sessions["follows"], creators[items], 1)[..., None],
                own[..., 1:2] / 16.0,
                ((mean_answers + deviation) / 5.0).clip(-1.0, 1.0)[..., None],
                deviation.clip(-1.0, 1.0)[..., None],
                evidence[..., None],
            ],
            -1,
        )
        * (items != NO_ITEM)[..., None]
    )
    return {
        "user": compact["user"],
        "history": history.reshape(len(history), -1),
        "candidates": candidates.reshape(len(candidates), -1),
        "candidate_mask": (items != NO_ITEM).astype(np.float32),
    }


@pytest.mark.parametrize(("item_lifetime", "is_live"), [(None, False), (25, False), (None, True)])
def test_compact_observations_and_the_catalogue_rebuild_the_others(some_env_id, item_lifetime, is_live):
    options: dict = {"live_platform": is_live}
    if item_lifetime is not None:
        options["overrides"] = {"catalog": {"item_lifetime": item_lifetime, "arrivals_per_step": 0.6}}
    by_kind = {kind: gymnasium.make_vec(some_env_id, 16, observation=kind, **options) for kind in OBSERVATION_KINDS}
    observations = {kind: env.reset(seed=2)[0] for kind, env in by_kind.items()}
    simulator, num_missing, num_known = by_kind["compact"].simulator, 0, 0
    for actions in random_actions(by_kind["compact"].action_space, np.random.default_rng(0), 60):
        expected = rebuilt(observations["compact"], simulator)
        for name, values in observations["full"].items():
            tolerance = 2e-6 if name == "candidates" else 0.0
            np.testing.assert_allclose(values, expected[name], rtol=0.0, atol=tolerance, err_msg=name)
        rows = observations["full"]["candidates"].reshape(16, *simulator.layout.candidates_shape)
        assert same(rows[..., -len(RELEVANCE_COLUMNS) :].reshape(16, -1), observations["dict"]["candidates"])
        assert same(observations["dict"]["candidate_mask"], expected["candidate_mask"])
        context = simulator.layout.num_profile_features
        assert same(observations["dict"]["user"][:, len(USER_FEEDBACK) :], expected["user"][:, context:])
        assert same(np.concatenate(list(observations["dict"].values()), 1), observations["flat"])
        items, shown = (observations["compact"][name] for name in ("candidate_items", "history_items"))
        num_missing += (items == NO_ITEM).sum()
        num_known += ((items[..., None] == shown[:, None]) & (items != NO_ITEM)[..., None]).sum()
        observations = {kind: env.step(actions)[0] for kind, env in by_kind.items()}
    assert (num_missing > 0) == (item_lifetime is not None)
    assert num_known > 20


def test_parts_are_consecutive_slices_of_the_flat_vector():
    layout = ObservationLayout(
        num_profile_features=4,
        num_moods=3,
        num_content_features=6,
        num_items=100,
        num_candidates=3,
        history_length=2,
        has_purchases=False,
    )
    assert layout.slices == {
        "user": slice(0, 9),
        "history": slice(9, 9 + 2 * 13),
        "candidates": slice(35, 35 + 3 * 15),
        "candidate_mask": slice(80, 83),
    }
    assert dataclasses.replace(layout, num_moods=1).user_size == 6
    assert layout.size == 83
    assert layout.of_kind("dict").slices == {
        "user": slice(0, 7),
        "candidates": slice(7, 7 + 3 * 3),
        "candidate_mask": slice(16, 19),
    }
    assert layout.space("flat").shape == (19,)
    assert layout.of_kind("dict").of_kind("full") == layout
    flat = np.arange(166.0).reshape(2, 83)
    parts = layout.parts(flat)
    assert {name: values.shape for name, values in parts.items()} == {
        name: (2, *box.shape) for name, box in layout.space("full").items()
    }
    assert parts["history"][1, 0] == 83 + 9
    assert all(np.shares_memory(values, flat) for values in parts.values())


def test_history_begins_with_what_was_shown_last():
    env = gymnasium.make("recsim_env/Video-v0", observation="compact", history_length=20).unwrapped
    observation, _ = env.reset(seed=1)
    assert (observation["history_items"] == NO_ITEM).all()
    assert not observation["history_feedback"].any()
    shown = []
    for step in range(30):
        shown.insert(0, observation["candidate_items"][step % 20])
        env.simulator.sessions["patience"] = 8.0  # no user leaves
        observation, _, _, truncated, info = env.step(step % 20)
        kept = shown[:20]
        assert observation["history_items"][: len(kept)].tolist() == kept
        assert (observation["history_items"][len(kept) :] == NO_ITEM).all()
        feedback = observation["history_feedback"].reshape(20, len(FEEDBACK))
        assert (feedback[:, 0] == (observation["history_items"] != NO_ITEM)).all()
        assert feedback[0, 2] == info["reward_click"]
        assert feedback[0, 3] == np.float32(info["reward_consumption"])
        assert feedback[0, 4] in (0.0, np.float32(info["reward_rating"] / 5.0))
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


@pytest.mark.parametrize(("warm_share", "tenure"), [(0.0, 0), (1.0, 1)])
def test_the_full_user_part_is_profile_elapsed_share_and_tenure(warm_share, tenure):
    overrides = {"population": {"warm_share": warm_share, "warm_steps": 1}}
    env = gymnasium.make("recsim_env/Video-v0", observation="full", session_length=4, overrides=overrides).unwrapped
    observation, _ = env.reset(seed=1)
    profile = env.simulator.world.users.profiles[env.simulator.sessions["user"][0]]
    for step in range(5):
        assert same(observation["user"], np.append(profile, np.float32([step / 4, tenure / 16])))
        if step < 4:
            env.simulator.sessions["patience"] = 8.0  # no user leaves
            observation, *_ = env.step(0)


def test_items_just_released_have_no_statistics_and_older_ones_have(scenario_name):
    cold = {"population": {"warm_share": 0.0}}
    envs = gymnasium.make_vec(f"recsim_env/{scenario_name}-v0", 256, overrides=cold, observation="full")
    num_new = num_old = 0
    old_age = min(200, envs.simulator.world.scenario.catalog.item_lifetime // 2)
    for seed in range(8):
        observations, _ = envs.reset(seed=1_000 * seed)
        sessions = envs.simulator.sessions
        released = envs.simulator.world.item_records["release_step"][sessions["candidates"]]
        ages = sessions["start_step"][:, None] - released
        rows = observations["candidates"].reshape(256, *envs.simulator.layout.candidates_shape)
        known = rows[..., -len(CANDIDATE_COLUMNS) :]
        assert known[..., 0] == pytest.approx(np.log2(1.0 + ages) / NUM_REFRESHES, abs=1e-6)
        assert not known[ages == 0, :6].any()
        old = known[ages > old_age]
        assert (old[:, 1] > 0.0).mean() > 0.9  # impressions
        num_new, num_old = num_new + (ages == 0).sum(), num_old + len(old)
    assert num_new > 10
    assert num_old > 1_000


# The session's own feedback


def statistics_of(simulator, item: int) -> list[float]:
    """Impressions, click rate and mean rating of an item among the candidates of the one session."""
    rows = simulator.observe("full")["candidates"].reshape(simulator.layout.candidates_shape)
    row = rows[simulator.sessions["candidates"][0].tolist().index(item)].astype(np.float64)
    known = dict(zip(CANDIDATE_COLUMNS, row[-len(CANDIDATE_COLUMNS) :], strict=True))
    return [2.0 ** (32.0 * known["impressions"]) - 1.0, known["click_rate"], 5.0 * known["mean_rating"]]


def test_feedback_of_a_session_is_part_of_its_item_statistics():
    four_stars = {"choice_intercept": CERTAIN, "rating_cuts": (-102.0, -101.0, -100.0, 100.0), "patience_gain": 0.0}
    simulator = make_simulator(**four_stars, rating_probability=1.0, num_ratings=10.0, receptiveness=0.0)
    simulator.sessions["start_step"] = 100
    background = statistics_of(simulator, 1)
    # The background statistics of item 1 are 0.5 each: log2(1 + impressions) / 32, clicks, rating / 5.
    assert background == pytest.approx([2.0**16 - 1.0, 0.5, 2.5], rel=1e-5)
    others = statistics_of(simulator, 0), statistics_of(simulator, 2)
    show(simulator, 1)
    simulator.world.item_statistics[:, 1, 0] = np.log2(1.0 + 6.0) / 32.0  # few impressions, so that one counts
    assert statistics_of(simulator, 1) == pytest.approx([7.0, (0.5 * 6 + 1) / 7, (2.5 * 10 + 4) / 11], rel=1e-5)
    show(simulator, 1)
    assert statistics_of(simulator, 1) == pytest.approx([8.0, (0.5 * 6 + 2) / 8, (2.5 * 10 + 8) / 12], rel=1e-5)
    assert (statistics_of(simulator, 0), statistics_of(simulator, 2)) == others


def test_impressions_are_recovered_from_their_observed_value_in_float32():
    numbers = np.array([0, 1, 2, 10, 1_000, 2**30])
    scaled = scaled_impressions(numbers)
    assert scaled == pytest.approx(np.log2(1.0 + numbers) / 32.0)
    assert scaled_impressions(np.array([2.0**40])) == 1.0
    rounded = scaled.astype(np.float32)[:, None]
    assert num_impressions(rounded) == pytest.approx(numbers, rel=2e-6)
    assert np.array_equal(num_impressions(rounded), num_impressions(rounded.astype(np.float64)))


def test_skips_and_unsubmitted_ratings_update_the_belief():
    for behaviour, clicks in (({"choice_intercept": -CERTAIN}, 0), ({"choice_intercept": CERTAIN}, 1)):
        simulator = make_simulator(**behaviour, rating_probability=0.0, num_ratings=3.0)
        simulator.world.item_statistics[:, 1, 0] = np.log2(1.0 + 4.0) / 32.0
        show(simulator, 1)
        assert statistics_of(simulator, 1) == pytest.approx([5.0, (0.5 * 4 + clicks) / 5, 2.5], rel=1e-5)


def test_an_item_without_background_statistics_has_those_of_the_session():
    five_stars = {"choice_intercept": CERTAIN, "rating_cuts": (-103.0, -102.0, -101.0, -100.0), "patience_gain": 0.0}
    simulator = make_simulator(**five_stars, rating_probability=1.0)
    simulator.world.item_statistics[:] = 0.0
    assert statistics_of(simulator, 2) == [0.0, 0.0, 0.0]
    show(simulator, 2)
    assert statistics_of(simulator, 2) == pytest.approx([1.0, 1.0, 5.0], rel=1e-5)
    for _ in range(5):
        show(simulator, 0)  # the history holds four rows: item 2 is forgotten
    assert statistics_of(simulator, 2) == [0.0, 0.0, 0.0]
    assert statistics_of(simulator, 0) == pytest.approx([4.0, 1.0, 5.0], rel=1e-5)


def test_the_feedback_of_a_user_is_summed_up_by_hand():
    simulator = make_simulator(rating_probability=1.0, choice_intercept=CERTAIN, rating_cuts=(-3.0, -2.0, -1.0, 1e9))
    assert simulator.observe("dict")["user"][0, :2].tolist() == [0.0, 0.0]
    show(simulator, 0)  # clicked, four stars
    simulator.parameters["choice_intercept"] = -CERTAIN
    show(simulator, 1)
    assert simulator.observe("dict")["user"][0, :2] == pytest.approx([1 / 2, 4 / 5])


# Ages


def test_statistics_are_refreshed_at_doubling_ages():
    ages = np.arange(MAX_AGE + 1)
    assert (np.diff(REFRESH_AT) >= 0).all()
    assert np.flatnonzero(np.diff(REFRESH_AT)).tolist() == [2**k - 1 for k in range(NUM_REFRESHES - 1)]
    assert REFRESH_AT[0] == 0
    assert REFRESH_AT[-1] == NUM_REFRESHES - 1
    assert pytest.approx(np.log2(1.0 + ages) / NUM_REFRESHES) == SCALED_AGE


def test_ages_beyond_the_last_refresh_are_observed_as_the_largest_age():
    env = gymnasium.make("recsim_env/Video-v0", observation="compact").unwrapped
    env.reset(seed=0)
    env.simulator.sessions["start_step"] += 10 * MAX_AGE
    rows = env.simulator.observe("full")["candidates"].reshape(env.simulator.layout.candidates_shape)
    assert (rows[:, -len(CANDIDATE_COLUMNS)] == SCALED_AGE[-1]).all()


def test_platform_time_minus_release_step_is_the_age_of_an_item():
    env = gymnasium.make("recsim_env/Video-v0", observation="compact").unwrapped
    observation, _ = env.reset(seed=0)
    began = observation["time"][0]
    for step in range(5):
        assert observation["time"].tolist() == [began + step]
        ages = observation["time"] - env.catalog_release_steps[observation["candidate_items"]]
        shown = env.simulator.observe("full")["candidates"].reshape(env.simulator.layout.candidates_shape)
        assert shown[:, -len(CANDIDATE_COLUMNS)] == pytest.approx(np.log2(1.0 + ages) / NUM_REFRESHES, abs=1e-6)
        observation, *_ = env.step(0)


def test_observing_some_sessions_gives_their_rows(observation_kind):
    envs = gymnasium.make_vec("recsim_env/Video-v0", 6, observation=observation_kind)
    everything, _ = envs.reset(seed=0)
    some = envs.simulator.observe(observation_kind, np.array([4, 1]))
    if observation_kind == "flat":
        assert same(some, everything[[4, 1]])
    else:
        assert all(same(some[name], values[[4, 1]]) for name, values in everything.items())
