"""The native vector env against single envs and Gymnasium's vector env, and its own guarantees."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from trajectories import arrays_in, lane_of, random_actions, same

import recsim_env  # noqa: F401  (registers the ids)

SEED = 100


def make_vec(env_id: str, num_envs: int, **options):
    options = {"autoreset_mode": AutoresetMode.SAME_STEP, **options}
    return gymnasium.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **options)


class SingleEnvs:
    """Single envs beside the lanes of a vector env; says whether a step of the lanes is theirs, to the bit."""

    def __init__(self, env_id: str, lanes: list[int], **options) -> None:
        self.envs = {lane: gymnasium.make(env_id, **options).unwrapped for lane in lanes}
        self.num_ends = 0

    def reset_agrees(self, observations, infos) -> bool:
        outcomes = {lane: env.reset(seed=SEED + lane) for lane, env in self.envs.items()}
        return all(
            same(answer, (lane_of(observations, lane), lane_of(infos, lane))) for lane, answer in outcomes.items()
        )

    def step_agrees(self, actions, answer) -> bool:
        observations, rewards, terminated, truncated, infos = answer
        for lane, env in self.envs.items():
            action = actions[lane].item() if actions[lane].ndim == 0 else actions[lane]
            observation, reward, has_left, is_cut, info = env.step(action)
            assert type(reward) is float
            assert type(has_left) is type(is_cut) is bool
            is_over = has_left or is_cut
            of_lane = infos["final_info"] if is_over else infos
            terms = {name: of_lane[name][lane] for name in info}
            numbers_agree = (
                np.float64(reward).tobytes() == rewards[lane].tobytes()
                and (has_left, is_cut) == (terminated[lane], truncated[lane])
                and same(info, terms)
            )
            if is_over:
                self.num_ends += 1
                last, (observation, _) = observation, env.reset()
                numbers_agree = numbers_agree and same(last, infos["final_obs"][lane])
            if not numbers_agree or not same(observation, lane_of(observations, lane)):
                return False
        return True


@pytest.mark.parametrize(("num_envs", "num_threads"), [(1, 1), (7, 1), (7, 2)])
def test_single_env_equals_lane_of_vector_env(some_env_id, num_envs, num_threads):
    vector = make_vec(some_env_id, num_envs, num_threads=num_threads)
    singles = SingleEnvs(some_env_id, list(range(num_envs)))
    assert singles.reset_agrees(*vector.reset(seed=SEED))
    for actions in random_actions(vector.action_space, np.random.default_rng(num_envs), 400):
        assert singles.step_agrees(actions, vector.step(actions))
    assert singles.num_ends >= 5 * num_envs
    vector.close()


def test_lanes_of_every_id_equal_single_envs(env_id):
    vector, singles = make_vec(env_id, 3), SingleEnvs(env_id, [0, 2])
    assert singles.reset_agrees(*vector.reset(seed=SEED))
    for actions in random_actions(vector.action_space, np.random.default_rng(1), 100):
        assert singles.step_agrees(actions, vector.step(actions))
    assert singles.num_ends >= 3


def test_lane_depends_neither_on_the_batch_nor_on_its_threads(some_env_id):
    wide, wide_threaded = make_vec(some_env_id, 64), make_vec(some_env_id, 64, num_threads=2)
    narrow, singles = make_vec(some_env_id, 7), SingleEnvs(some_env_id, [0, 31, 63])
    first = wide.reset(seed=SEED)
    assert same(first[0], wide_threaded.reset(seed=SEED)[0])
    assert singles.reset_agrees(*first)
    narrow_first = narrow.reset(seed=SEED + 50)[0]
    assert all(same(lane_of(narrow_first, lane), lane_of(first[0], 50 + lane)) for lane in range(7))
    for actions in random_actions(wide.action_space, np.random.default_rng(5), 400):
        answer = wide.step(actions)
        assert same(answer, wide_threaded.step(actions))
        assert singles.step_agrees(actions, answer)
        observations, rewards, terminated, truncated, _ = narrow.step(actions[50:57])
        assert rewards.tobytes() == answer[1][50:57].tobytes()
        assert terminated.tobytes() == answer[2][50:57].tobytes()
        assert truncated.tobytes() == answer[3][50:57].tobytes()
        assert all(values.tobytes() == answer[0][name][50:57].tobytes() for name, values in observations.items())
    wide_threaded.close()


@pytest.mark.parametrize("num_threads", [1, 3])
def test_lane_equals_single_env_in_every_kind_of_observation(observation_kind, num_threads):
    options = {"observation": observation_kind, "session_length": 12}
    vector = make_vec("recsim_env/VideoSlate-v0", 4, num_threads=num_threads, **options)
    singles = SingleEnvs("recsim_env/VideoSlate-v0", [0, 1, 2, 3], **options)
    assert singles.reset_agrees(*vector.reset(seed=SEED))
    for actions in random_actions(vector.action_space, np.random.default_rng(1), 200):
        assert singles.step_agrees(actions, vector.step(actions))
    assert singles.num_ends > 20
    vector.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_native_vector_env_equals_sync_vector_env(some_env_id, observation_kind, mode):
    native = make_vec(some_env_id, 5, observation=observation_kind, autoreset_mode=mode)
    singles = [lambda: gymnasium.make(some_env_id, observation=observation_kind)] * 5
    sync = gymnasium.vector.SyncVectorEnv(singles, autoreset_mode=mode)
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    assert same(native.reset(seed=SEED), sync.reset(seed=SEED))
    num_ends = 0
    for actions in random_actions(native.action_space, np.random.default_rng(2), 300):
        answer, expected = native.step(actions), sync.step(actions)
        names = ("observations", "rewards", "terminated", "truncated", "infos")
        for name, one, other in zip(names, answer, expected, strict=True):
            assert same(one, other), name
        num_ends += int(answer[2].sum() + answer[3].sum())
    assert num_ends > 20


def test_reset_without_a_seed_starts_the_next_episode_of_each_lane():
    vector = make_vec("recsim_env/Video-v0", 3)
    single = gymnasium.make("recsim_env/Video-v0")
    vector.reset(seed=SEED)
    single.reset(seed=SEED + 2)
    observations, _ = vector.reset()
    assert same(lane_of(observations, 2), single.reset()[0])


def test_unseeded_vector_envs_differ():
    first, second = make_vec("recsim_env/Video-v0", 2), make_vec("recsim_env/Video-v0", 2)
    assert not same(first.reset()[0], second.reset()[0])


def test_a_list_of_seeds_seeds_each_lane():
    vector = make_vec("recsim_env/Video-v0", 3)
    counted = vector.reset(seed=SEED)[0]
    assert same(vector.reset(seed=[SEED, SEED + 1, SEED + 2])[0], counted)
    assert same(vector.reset(seed=np.array([SEED, SEED + 1, SEED + 2]))[0], counted)
    assert same(vector.reset(seed=np.int64(SEED))[0], counted)
    mixed = vector.reset(seed=[SEED + 2, 7, SEED])[0]
    assert same(lane_of(mixed, 0), lane_of(counted, 2))
    assert same(lane_of(mixed, 2), lane_of(counted, 0))


def test_none_in_a_list_of_seeds_draws_one():
    vector = make_vec("recsim_env/Video-v0", 3)
    counted = vector.reset(seed=SEED)[0]
    first, second = (vector.reset(seed=[SEED, None, SEED + 2])[0] for _ in range(2))
    for lane in (0, 2):
        assert same(lane_of(first, lane), lane_of(counted, lane))
    assert not same(lane_of(first, 1), lane_of(second, 1))


@pytest.mark.parametrize("seeds", [[1, 2], [1, 2, 3, 4], [1, 2, -3], [1, True, 3], [1, 2, 3.0]])
def test_a_wrong_list_of_seeds_is_refused(seeds):
    vector = make_vec("recsim_env/Video-v0", 3)
    vector.reset(seed=SEED)
    before = vector.simulator.state()
    with pytest.raises(ValueError, match=r"^seed"):
        vector.reset(seed=seeds)
    assert same(before, vector.simulator.state())


def test_reset_mask_restarts_the_masked_lanes_and_no_other():
    vector, other = make_vec("recsim_env/Video-v0", 4), make_vec("recsim_env/Video-v0", 4)
    vector.reset(seed=SEED)
    vector.step(np.array([1, 2, 3, 4]))
    observations, rewards, *_ = vector.step(np.array([1, 2, 3, 4]))
    after, _ = vector.reset(seed=500, options={"reset_mask": np.array([False, True, False, True])})
    fresh, _ = other.reset(seed=500)
    for lane, expected in enumerate([observations, fresh, observations, fresh]):
        assert same(lane_of(after, lane), lane_of(expected, lane))
    assert rewards.shape == (4,)


def test_reset_mask_needs_lanes_that_have_begun():
    vector = make_vec("recsim_env/Video-v0", 2)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset_mask"):
        vector.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(gymnasium.error.ResetNeeded):
        vector.step(np.array([0, 0]))


@pytest.mark.parametrize("mask", [[True], [0, 1], [False, False], "both"])
def test_a_wrong_reset_mask_is_refused(mask):
    vector = make_vec("recsim_env/Video-v0", 2)
    vector.reset(seed=1)
    with pytest.raises(ValueError, match=r"options\['reset_mask'\]: must be 2 booleans"):
        vector.reset(options={"reset_mask": mask})


@pytest.mark.parametrize("name", ["candidate_seed", "user_seed", "noise_seed"])
def test_a_seed_option_counts_up_over_the_lanes(name):
    vector, single = make_vec("recsim_env/Video-v0", 3), gymnasium.make("recsim_env/Video-v0")
    observations, _ = vector.reset(seed=SEED, options={name: 40})
    expected, _ = single.reset(seed=SEED + 2, options={name: 42})
    actions = [3, 3, 3]
    for _ in range(10):
        assert same(lane_of(observations, 2), expected)
        observations, *_ = vector.step(np.array(actions))
        expected, *_ = single.step(3)


def test_final_observation_and_info_stand_only_where_a_session_ended():
    vector = make_vec("recsim_env/Video-v0", 16, observation="flat")
    vector.reset(seed=SEED)
    num_ends = 0
    for actions in random_actions(vector.action_space, np.random.default_rng(3), 60):
        _, _, terminated, truncated, infos = vector.step(actions)
        is_over = terminated | truncated
        assert ("final_obs" in infos) == ("final_info" in infos) == bool(is_over.any())
        if is_over.any():
            assert same(infos["_final_obs"], is_over)
            assert same(infos["_final_info"], is_over)
            assert [last is not None for last in infos["final_obs"]] == is_over.tolist()
            assert infos["_reward_rating"].all()
            assert not infos["reward_rating"][is_over].any()
            assert not infos["final_info"]["reward_rating"][~is_over].any()
            num_ends += int(is_over.sum())
    assert num_ends > 16


def test_statistics_wrapper_of_gymnasium_sees_whole_sessions():
    vector = gymnasium.wrappers.vector.RecordEpisodeStatistics(make_vec("recsim_env/Video-v0", 8))
    vector.reset(seed=SEED)
    totals, lengths = np.zeros(8), np.zeros(8, np.int64)
    num_ends = 0
    for actions in random_actions(vector.action_space, np.random.default_rng(4), 80):
        _, rewards, terminated, truncated, infos = vector.step(actions)
        totals, lengths = totals + rewards, lengths + 1
        is_over = terminated | truncated
        if is_over.any():
            episode = infos["final_info"]["episode"] if "episode" in infos["final_info"] else infos["episode"]
            np.testing.assert_allclose(episode["r"][is_over], totals[is_over])
            np.testing.assert_array_equal(episode["l"][is_over], lengths[is_over])
            num_ends += int(is_over.sum())
            totals[is_over], lengths[is_over] = 0.0, 0
    assert num_ends > 8


@pytest.mark.parametrize("num_threads", [1, 2])
def test_handed_out_arrays_are_never_overwritten_and_share_no_memory(observation_kind, num_threads):
    vector = make_vec("recsim_env/VideoSlate-v0", 6, observation=observation_kind, num_threads=num_threads)
    own = [vector.simulator.sessions, vector.simulator.outcomes]
    outcomes = [vector.reset(seed=SEED)]
    for actions in random_actions(vector.action_space, np.random.default_rng(0), 40):
        outcomes.append(vector.step(actions))
        arrays = arrays_in(outcomes[-1])
        assert not any(np.shares_memory(array, mine) for array in arrays for mine in own)
        if len(outcomes) == 2:
            kept = [array.copy() for answer in outcomes for array in arrays_in(answer)]
        if len(outcomes) > 2:
            before = arrays_in(outcomes[-2])
            assert not any(np.may_share_memory(array, old) for array in arrays for old in before)
    for array, copy in zip(arrays_in(outcomes[0]) + arrays_in(outcomes[1]), kept, strict=True):
        assert same(array, copy)
    assert any("final_obs" in answer[-1] for answer in outcomes)
    vector.close()


def test_writing_into_returned_arrays_changes_nothing(some_env_id):
    scribbled, clean = make_vec(some_env_id, 4), make_vec(some_env_id, 4)
    answer, expected = scribbled.reset(seed=SEED), clean.reset(seed=SEED)
    for actions in random_actions(clean.action_space, np.random.default_rng(0), 80):
        for array in arrays_in(answer):
            array.fill(1)
        given = actions.copy()
        answer, expected = scribbled.step(given), clean.step(actions)
        assert same(answer, expected)
        assert same(given, actions)
        given.fill(0)


def test_catalogue_is_handed_out_read_only():
    for env in (make_vec("recsim_env/Video-v0", 2), gymnasium.make("recsim_env/Video-v0").unwrapped):
        for array in (env.catalog_features, env.catalog_statistics):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0.0


def test_closing_twice_is_allowed():
    vector = make_vec("recsim_env/Video-v0", 4, num_threads=2)
    vector.reset(seed=1)
    vector.close()
    vector.close()
