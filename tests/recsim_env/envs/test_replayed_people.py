"""Replay: held-out people of a ratings log answer with the ratings that they gave."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_for_gymnasium
from made_log import NUM_FILMS, NUM_PEOPLE, ratings_of, write_log
from stable_baselines3.common.env_checker import check_env as check_for_sb3
from trajectories import file_of, lane_of, random_actions, record, record_elsewhere, same

import recsim_env
from recsim_env.logs import read_log
from recsim_env.simulation.records import NO_ITEM
from recsim_env.world.replayed_log import people_of, train_log

pytestmark = pytest.mark.filterwarnings("error")

NUM_CANDIDATES = 6
IDS = ["recsim_env/Replay-v0", "recsim_env/ReplaySlate-v0", "recsim_env/ReplayContent-v0"]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("made") / "films")


def make(log, env_id="recsim_env/Replay-v0", **arguments) -> gymnasium.Env:
    return gymnasium.make(env_id, world=log, **{"num_candidates": NUM_CANDIDATES, **arguments}).unwrapped


def make_vec(log, num_envs, env_id="recsim_env/Replay-v0", **arguments):
    return gymnasium.make_vec(env_id, num_envs, world=log, **{"num_candidates": NUM_CANDIDATES, **arguments})


def person_of(env, log, split="test") -> dict[int, int]:
    """The ratings by film of the person whom the single env plays, of films in its catalogue."""
    read, simulator = read_log(log), env.simulator
    people = people_of(read, split)
    ratings = ratings_of(int(read.user_ids[people[simulator.sessions["user"][0]]]))
    return {film: rating for film, rating in ratings.items() if str(film) in simulator.world.items.ids}


def candidates_of(env) -> list[int]:
    """Films among the candidates of the single env; candidates that do not exist are left out."""
    ids = env.simulator.world.items.ids
    return [int(ids[item]) for item in env.simulator.sessions["candidates"][0] if item != NO_ITEM]


@pytest.mark.parametrize("kind", ["dict", "flat", "full", "compact"])
@pytest.mark.parametrize("env_id", IDS)
def test_the_checkers_of_gymnasium_and_sb3_accept_a_replay(log, env_id, kind):
    env = make(log, env_id, observation=kind, render_mode="ansi")
    check_for_gymnasium(env, skip_render_check=True)
    check_for_sb3(env, warn=True, skip_render_check=False)


def test_users_have_the_ids_of_the_log(log):
    world = make(log).simulator.world
    real = world.real_ratings
    assert len(set(world.users.ids)) == len(world.users)
    for user, name in enumerate(world.users.ids):
        own = slice(real.starts[user], real.starts[user + 1])
        films = [int(world.items.ids[item]) for item in real.items[own]]
        given = ratings_of(int(name))
        assert real.ratings[own].tolist() == [given[film] for film in films]


def test_a_session_of_a_real_person_can_be_drawn(log):
    env = make(log, render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(12):
        env.step(0)
    assert env.render().ndim == 3


def test_rewards_are_the_ratings_that_the_person_gave(log):
    env = make(log, reward_scale=1.0)
    env.reset(seed=3)
    ratings = person_of(env, log)
    for _ in range(5):
        film = candidates_of(env)[1]
        _, reward, *_, info = env.step(1)
        assert reward == info["reward_rating"] == ratings[film]
        assert info["reward_click"] == 1.0


def test_the_reward_of_a_slate_is_its_mean_rating(log):
    env = make(log, "recsim_env/ReplaySlate-v0", reward_scale=1.0)
    env.reset(seed=3)
    ratings, films = person_of(env, log), candidates_of(env)
    _, reward, *_ = env.step(np.array([4, 2, 0, 1, 3]))
    assert reward == pytest.approx(np.mean([ratings[film] for film in films[:5]]))
    ratings_left, films = ratings, candidates_of(env)
    _, reward, *_ = env.step(np.array([0, 0, 1, 1, 1]))  # repeated candidates leave their slots empty
    assert reward == pytest.approx((ratings_left[films[0]] + ratings_left[films[1]]) / 5)


def test_candidates_are_rated_items_that_have_not_been_shown(log):
    env = make(log)
    for seed in range(5):
        env.reset(seed=seed)
        left, is_over = set(person_of(env, log)), False
        while not is_over:
            films = candidates_of(env)
            assert len(films) == len(set(films)) == min(NUM_CANDIDATES, len(left))
            assert set(films) <= left
            assert env.action_masks().sum() == len(films)
            left.remove(films[0])
            *_, terminated, truncated, _ = env.step(0)
            is_over = terminated or truncated
        assert truncated
        assert not terminated
        assert not left


def test_a_session_is_truncated_at_its_length(log):
    env = make(log, session_length=4)
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(4)] == [False, False, False, True]


def test_a_missing_candidate_shows_nothing(log):
    env = make(log, num_candidates=NUM_FILMS - 2)
    env.reset(seed=0)
    last = env.simulator.sessions["candidates"][0][-1]
    assert last == NO_ITEM
    before = candidates_of(env)
    _, reward, *_ = env.step(NUM_FILMS - 3)
    assert reward == 0.0
    assert sorted(candidates_of(env)) == sorted(before)


def test_each_item_left_is_as_likely_at_each_position(log):
    envs = make_vec(log, 6_000, candidate_order="random")
    envs.reset(seed=0)
    sessions = envs.unwrapped.simulator.sessions
    candidates = np.array(sessions["candidates"])[np.array(sessions["user"]) == 0]
    real = envs.unwrapped.simulator.world.real_ratings
    rated = real.items[real.starts[0] : real.starts[1]]
    counts = np.array([(candidates == item).sum(0) for item in rated])  # [items, positions]
    expected = len(candidates) / len(rated)
    assert len(candidates) > 500
    assert np.abs(counts - expected).max() < 5.0 * expected**0.5


def test_splits_share_no_person_and_train_replays_half_of_its_people(log):
    read = read_log(log)
    people = {split: people_of(read, split) for split in ("train", "validation", "test")}
    assert sorted(np.concatenate(list(people.values()))) == list(range(NUM_PEOPLE))
    played = {split: len(make(log, split=split).simulator.world.users) for split in people}
    assert played == {"train": 12, "validation": 8, "test": 8}


def test_item_statistics_are_those_of_the_people_of_train(log):
    world, read = make(log).simulator.world, read_log(log)
    people = [ratings_of(int(read.user_ids[person])) for person in people_of(read, "train")]
    for item, film in enumerate(world.items.ids):
        ratings = [each[int(film)] for each in people if int(film) in each]
        impressions, click_rate, mean_rating, num_ratings = world.item_statistics[3, item]
        assert 2.0 ** (32.0 * impressions) - 1.0 == pytest.approx(len(ratings), rel=1e-4)
        assert (click_rate, num_ratings) == (1.0, len(ratings))
        assert mean_rating == pytest.approx(np.mean(ratings) / 5.0)


@pytest.mark.parametrize("split", ["train", "test"])
def test_nobody_is_both_played_and_known_to_the_platform(log, tmp_path, split):
    world, num_played, num_known = make(log, split=split).simulator.world, 0, 0
    ratings = {person: ratings_of(person) for person in range(NUM_PEOPLE)}
    for person, films in ratings.items():
        changed = {film: 6 - rating for film, rating in films.items()}
        other = make(write_log(tmp_path / str(person), {**ratings, person: changed}), split=split).simulator.world
        is_played = not same(other.real_ratings.ratings, world.real_ratings.ratings)
        known = [other.item_statistics, other.item_records["mean_answers"], other.item_records["answer_factors"]]
        before = [world.item_statistics, world.item_records["mean_answers"], world.item_records["answer_factors"]]
        is_known = not same(known, before)
        assert not (is_played and is_known)
        num_played, num_known = num_played + is_played, num_known + is_known
    assert (num_played, num_known) == {"train": (12, 12), "test": (8, 24)}[split]


def test_the_catalogue_has_the_items_of_train_in_their_order(log):
    assert make(log).simulator.world.items.ids == tuple(train_log(read_log(log)).item_ids.tolist())


@pytest.mark.parametrize("env_id", IDS)
def test_a_lane_of_a_replay_equals_the_single_env(log, env_id):
    single, envs = make(log, env_id), make_vec(log, 4, env_id, num_threads=2)
    batch, _ = envs.reset(seed=10)
    observation, _ = single.reset(seed=12)
    assert same(lane_of(batch, 2), observation)
    for actions in random_actions(envs.action_space, np.random.default_rng(0), 12):
        batch, rewards, terminated, truncated, infos = envs.step(actions)
        step = single.step(actions[2])
        assert same(lane_of(batch, 2), step[0])
        assert (rewards[2], terminated[2], truncated[2]) == step[1:4]
        assert same(lane_of(infos, 2), step[4])
        if step[3]:
            break


def test_seeds_and_the_catalogue_seed_key_the_candidates(log):
    def candidates(seed, **arguments):
        env = make(log, candidate_order="random", **arguments)
        env.reset(seed=seed, options={"user_seed": 1})
        return candidates_of(env)

    assert candidates(1) == candidates(1)
    assert candidates(1) != candidates(2)
    assert candidates(1) != candidates(1, catalog_seed=1)


def test_a_copy_and_a_pickle_of_a_replay_go_on_alike(log):
    env = make(log)
    env.reset(seed=1)
    env.step(2)
    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    expected = env.step(1)
    for each in copies:
        assert same(each.step(1), expected)


def test_the_platform_ranks_by_what_others_and_this_person_answered(log):
    envs = make_vec(log, 400, observation="dict")
    total = dict.fromkeys(("first", "last"), 0.0)
    for name in total:
        envs.reset(seed=0)
        for _ in range(8):
            action = 0 if name == "first" else NUM_CANDIDATES - 1
            _, rewards, *_ = envs.step(np.full(400, action))
            total[name] += rewards.sum()
    assert total["first"] > 1.3 * total["last"]


def test_latent_state_has_the_reward_of_each_candidate(log):
    env = make(log, overrides={"reward": {"neutral_rating": 2.0, "click": 0.5}})
    env.reset(seed=4)
    expected, ratings = env.latent_state()["expected_rewards"], person_of(env, log)
    assert expected.tolist() == [ratings[film] - 2.0 + 0.5 for film in candidates_of(env)]
    assert env.step(3)[1] == expected[3] / 8.0


def test_plain_python_replays_people_as_compiled_code_does(tmp_path):
    few = {person: dict(list(ratings_of(person).items())[:6]) for person in range(12)}  # so that it takes no minute
    log = write_log(tmp_path / "films", few)
    env_id, options = "recsim_env/ReplaySlate-v0", {"world": str(log), "num_candidates": 4, "slate_size": 2}
    record_elsewhere(tmp_path, 7, 5, [env_id], {"NUMBA_DISABLE_JIT": "1"}, **options)
    compiled = record(env_id, 7, 5, **options)
    assert compiled["truncated"].any()
    with np.load(file_of(tmp_path, env_id)) as plain:
        for name, expected in compiled.items():
            np.testing.assert_allclose(plain[name], expected, rtol=1e-6, atol=1e-7, err_msg=name)


WRONG = {
    "split='all'": {"split": "all"},
    "user_split='train'": {"user_split": "train"},
    "candidates='similar'": {"candidates": "similar"},
    "action='catalog'": {"action": "catalog", "observation": "full"},
    "live_platform=True": {"live_platform": True},
    r"overrides\['behaviour'\]": {"overrides": {"behaviour": {"satiation_gain": 0.5}}},
    "user_model=": {"user_model": recsim_env.UserModel()},
    "world_seed=1": {"world_seed": 1},
    "num_candidates=31": {"num_candidates": NUM_FILMS + 1},
}


@pytest.mark.parametrize("message", WRONG)
def test_arguments_that_a_replay_does_not_have_are_refused(log, message):
    with pytest.raises(ValueError, match=f"^{message}[^\n]*: must"):
        make(log, **WRONG[message])


def test_planners_are_refused_as_there_is_no_user_model(log):
    with pytest.raises(ValueError, match=r"^Replay: has no user model"):
        make(log).simulator.compiled_model()


def test_a_log_that_is_too_small_is_refused_in_one_line(tmp_path):
    few = {person: ratings_of(person) for person in range(9)}
    with pytest.raises(ValueError, match=r"^\S+few: 9 people; Replay needs at least 10$"):
        make(write_log(tmp_path / "few", few), num_candidates=2)
    lonely = {person: {person: 3} for person in range(NUM_FILMS)}
    with pytest.raises(ValueError, match=r"^\S+lonely: nobody of split='test' rated 2 items [^\n]* larger log$"):
        make(write_log(tmp_path / "lonely", lonely), num_candidates=2)


def test_a_fitted_world_is_refused_as_it_has_no_ratings(log, tmp_path):
    fitted = tmp_path / "world.npz"
    recsim_env.fit_log(log).save(fitted)
    with pytest.raises(ValueError, match=r"world\.npz: a fitted world; Replay needs the ratings log itself$"):
        make(fitted)
