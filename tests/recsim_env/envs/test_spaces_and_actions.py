"""Arguments and actions; invalid ones are refused in one line and change nothing."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trajectories import same

from recsim_env.sb3 import make_sb3_vec_env
from recsim_env.scenarios import LIFETIMES, SCENARIOS

MAKERS = {
    "single": lambda env_id, **options: gymnasium.make(env_id, **options).unwrapped,
    "vector": lambda env_id, **options: gymnasium.make_vec(env_id, 2, **options),
    "sb3": lambda env_id, **options: make_sb3_vec_env(env_id, 2, **options),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def simulator_of(env):
    return env.vector_env.simulator if hasattr(env, "vector_env") else env.simulator


def refusal_of(call) -> str:
    """The message of the `ValueError` that `call` raises; it is one line."""
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        call()
    return str(refused.value)


# Arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scenario": "Vidoe"},
            "scenario='Vidoe': unknown; did you mean 'Video'? Must be one of "
            + ", ".join((*SCENARIOS, *LIFETIMES, "Replay", "Items")),
        ),
        (
            {"scenario": 3},
            "scenario=3: unknown; must be one of " + ", ".join((*SCENARIOS, *LIFETIMES, "Replay", "Items")),
        ),
        ({"observation": "pixels"}, "observation='pixels': must be one of dict, flat, full, compact"),
        ({"observation": None}, "observation=None: must be one of dict, flat, full, compact"),
        ({"action": "click"}, "action='click': must be one of candidate, content, catalog"),
        ({"split": "tset"}, "split='tset': unknown; did you mean 'test'? Must be one of all, train, validation, test"),
        ({"split": "half"}, "split='half': unknown; must be one of all, train, validation, test"),
        ({"catalog_seed": -1}, "catalog_seed=-1: must be a whole number in [0, 9223372036854775807]"),
        ({"catalog_seed": 1.0}, "catalog_seed=1.0: must be a whole number in [0, 9223372036854775807]"),
        ({"num_threads": 0}, "num_threads=0: must be a whole number in [1, 1024]"),
        ({"num_candidates": 1}, "num_candidates=1: must be a whole number in [2, 1000000]"),
        ({"num_candidates": 20.0}, "num_candidates=20.0: must be a whole number in [2, 1000000]"),
        ({"slate_size": 0}, "slate_size=0: must be a whole number in [1, 10]"),
        ({"slate_size": 5, "num_candidates": 4}, "slate_size=5: must be at most num_candidates=4"),
        ({"session_length": math.nan}, "session_length=nan: must be a whole number in [2, 100000]"),
        ({"history_length": "20"}, "history_length='20': must be a whole number in [1, 100000]"),
        (
            {"num_candidates": 51, "overrides": {"catalog": {"num_items": 50}}},
            "num_candidates=51: must be at most the number of items, 50",
        ),
        (
            {"scenario": []},
            "scenario=[]: unknown; must be one of " + ", ".join((*SCENARIOS, *LIFETIMES, "Replay", "Items")),
        ),
        ({"overrides": 1}, "overrides=1: must be a dict of sections, such as {'reward': {}}"),
        ({"overrides": []}, "overrides=[]: must be a dict of sections, such as {'reward': {}}"),
        ({"user_model": None}, "user_model=None: must be a recsim_env.UserModel"),
        ({"user_model": []}, "user_model=[]: must be a recsim_env.UserModel"),
        ({"live_platform": "yes"}, "live_platform='yes': must be True or False"),
        ({"live_platform": math.nan}, "live_platform=nan: must be True or False"),
        ({"world": "ratings.csv"}, "world='ratings.csv': Video does not use a ratings log; omit it"),
    ],
)
def test_wrong_arguments_are_refused_by_name_value_and_what_is_allowed(make, options, message):
    assert refusal_of(lambda: make("recsim_env/Video-v0", **options)) == message


@pytest.mark.filterwarnings("ignore:.*render_mode:UserWarning", "ignore:.*pixels:UserWarning")
def test_an_unknown_render_mode_is_refused(make):
    message = refusal_of(lambda: make("recsim_env/Video-v0", render_mode="pixels"))
    assert message.startswith("render_mode='pixels': must be None or one of ")
    assert message.endswith("ansi")


def test_a_misspelt_argument_is_refused_with_the_near_name(make):
    with pytest.raises(TypeError, match=r"^argument 'num_candidate': unknown; did you mean 'num_candidates'\? Must be"):
        make("recsim_env/Video-v0", num_candidate=5)


def test_misspelt_arguments_of_vector_envs_are_refused_with_the_near_name():
    with pytest.raises(TypeError, match=r"^argument 'num_env': unknown; did you mean 'num_envs'\? Must be"):
        gymnasium.make_vec("recsim_env/Video-v0", num_env=4)
    with pytest.raises(TypeError, match=r"^argument 'sed': unknown; did you mean 'seed'\? Must be"):
        make_sb3_vec_env("recsim_env/Video-v0", sed=1)


def test_arguments_of_vector_envs_are_refused_by_single_ones():
    for name in ("num_envs", "autoreset_mode"):
        with pytest.raises(TypeError, match=rf"^argument '{name}': unknown here; it belongs to gymnasium.make_vec"):
            gymnasium.make("recsim_env/Video-v0", **{name: 4})


def test_as_many_candidates_as_items_are_allowed(make):
    make("recsim_env/Video-v0", num_candidates=50, overrides={"catalog": {"num_items": 50}})


def test_an_env_of_no_lanes_is_refused():
    for num_envs in (0, -1):
        message = refusal_of(lambda: gymnasium.make_vec("recsim_env/Video-v0", num_envs))  # noqa: B023
        assert message == f"num_envs={num_envs}: must be a whole number in [1, 10000000]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"user": 1},
            "options['user']: unknown; did you mean 'user_seed'? Must be one of candidate_seed, user_seed, noise_seed",
        ),
        ({"user_seed": -1}, "options['user_seed']=-1: must be a whole number of at least 0"),
        ({"noise_seed": 0.5}, "options['noise_seed']=0.5: must be a whole number of at least 0"),
        ({"user_seed": True}, "options['user_seed']=True: must be a whole number of at least 0"),
        (3, "options=3: must be a dict"),
        (["user_seed"], "options=['user_seed']: must be a dict"),
        ({"candidate_seed": None}, "options['candidate_seed']=None: must be a whole number of at least 0"),
    ],
)
def test_wrong_options_of_reset_are_refused(options, message):
    for env in (MAKERS["single"]("recsim_env/Video-v0"), MAKERS["vector"]("recsim_env/Video-v0")):
        env.reset(seed=1)
        before = env.simulator.state()
        assert refusal_of(lambda: env.reset(seed=2, options=options)).startswith(message)  # noqa: B023
        assert same(before, env.simulator.state())


@pytest.mark.parametrize("number", [np.int64(3), np.int64(2**63 - 1), np.uint64(2**64 - 1), np.uint8(255)])
def test_every_kind_of_whole_number_is_a_seed(number):
    for env in (MAKERS["single"]("recsim_env/Video-v0"), MAKERS["vector"]("recsim_env/Video-v0")):
        for name in ("candidate_seed", "user_seed", "noise_seed"):
            env.reset(seed=1, options={name: number})
            state = env.simulator.state()
            env.reset(seed=1, options={name: int(number)})
            assert same(state, env.simulator.state())
        env.reset(seed=number)
        state = env.simulator.state()
        env.reset(seed=int(number))
        assert same(state, env.simulator.state())
    env = MAKERS["sb3"]("recsim_env/Video-v0")
    env.seed(number)
    env.reset()
    assert same(state, simulator_of(env).state())


@pytest.mark.parametrize("seed", [-1, 1.5, math.nan, True, "3", {1, 2}, np.array(3)])
def test_wrong_seeds_are_refused_by_all_envs_in_the_same_words(make, seed):
    env = make("recsim_env/Video-v0")
    refusal = refusal_of(lambda: env.seed(seed) if hasattr(env, "vector_env") else env.reset(seed=seed))
    assert refusal == f"seed={seed!r}: must be a whole number of at least 0"


def test_nothing_of_a_session_is_read_before_the_first_reset():
    single, vector = (make("recsim_env/Video-v0", render_mode="ansi") for make in (MAKERS["single"], MAKERS["vector"]))
    calls = [*(getattr(env, name) for env in (single, vector) for name in ("latent_state", "action_masks", "render"))]
    for call in (*calls, lambda: vector.shown_items([0, 0]), lambda: vector.step([0, 0])):
        with pytest.raises(gymnasium.error.ResetNeeded, match=r"^no session has started: call reset\(\)$"):
            call()


# Actions


@pytest.mark.parametrize(
    "action",
    [
        -1,
        20,
        10**6,
        2**63,
        10**30,
        1.0,
        0.5,
        math.nan,
        math.inf,
        True,
        np.True_,
        None,
        "3",
        [1, 2],
        [20],
        [True],
        [[1]],
        [],
        {},
        1j,
        b"1",
    ],
)
def test_a_wrong_index_is_refused_and_changes_nothing(action):
    env = MAKERS["single"]("recsim_env/Video-v0")
    expected = MAKERS["single"]("recsim_env/Video-v0")
    env.reset(seed=1)
    expected.reset(seed=1)
    before = env.simulator.state()
    assert refusal_of(lambda: env.step(action)).startswith("action")
    assert same(before, env.simulator.state())
    assert same(env.step(3), expected.step(3))


@pytest.mark.parametrize("slate", [[0, 1, 2, 3], [0] * 6, 3, [0, 1, 2, 3, 20], [-1, 0, 0, 0, 0], [0.0] * 5, [[0] * 5]])
def test_a_wrong_slate_is_refused_and_changes_nothing(slate):
    env = MAKERS["single"]("recsim_env/VideoSlate-v0")
    env.reset(seed=1)
    before = env.simulator.state()
    assert refusal_of(lambda: env.step(slate)).startswith("action")
    assert refusal_of(lambda: env.step(np.array(slate))).startswith("action")
    assert same(before, env.simulator.state())


@pytest.mark.parametrize("kind", ["vector", "sb3"])
@pytest.mark.parametrize(
    "actions",
    [
        [0],
        [0, 1, 2],
        0,
        [[0, 1], [1, 2]],
        [[[0]], [[1]]],
        [0, 20],
        [-1, 0],
        [0.0, 1.0],
        [math.nan, 0],
        [True, False],
        [[0], [1, 2]],
        None,
    ],
)
def test_a_wrong_batch_of_indices_is_refused_and_changes_nothing(kind, actions):
    env = MAKERS[kind]("recsim_env/Video-v0")
    env.reset()
    before = simulator_of(env).state()
    assert refusal_of(lambda: env.step(actions)).startswith("action")
    assert same(before, simulator_of(env).state())


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1.0001, -1.0001, 1e300])
@pytest.mark.parametrize("variant", ["Content", "Catalog"])
def test_a_point_outside_of_content_space_is_refused_and_changes_nothing(make, wrong, variant):
    env = make(f"recsim_env/Video{variant}-v0")
    env.reset()
    simulator = simulator_of(env)
    size = simulator.layout.num_content_features
    shape = (size,) if len(simulator) == 1 else (2, size)
    action = np.zeros(shape)
    action.flat[-1] = wrong
    before = simulator.state()
    message = refusal_of(lambda: env.step(action))
    assert message == f"action={action.flat[-1]}: must be a number in [-1, 1]"
    for other in (
        action[..., :-1],
        action.ravel()[0],
        np.full(shape, "x"),
        np.zeros(shape, bool),
        np.zeros(shape) * 1j,
    ):
        assert refusal_of(lambda: env.step(other)).startswith("action")  # noqa: B023
    assert same(before, simulator.state())


@given(action=st.one_of(st.integers(), st.floats(), st.lists(st.integers(-2, 25), max_size=3), st.text(max_size=3)))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_actions_that_are_not_candidates_are_refused(action):
    index = action[0] if isinstance(action, list) and len(action) == 1 else action
    env = _VIDEO
    env.reset(seed=1)
    if isinstance(index, int) and 0 <= index < 20:
        assert env.action_space.contains(index)
        env.step(action)
    else:
        assert not env.action_space.contains(action)
        assert refusal_of(lambda: env.step(action)).startswith("action")


_VIDEO = MAKERS["single"]("recsim_env/Video-v0")


AS_INDICES = [np.int64, np.int32, np.uint8, np.array, torch.tensor]


@pytest.mark.parametrize("number", [int, *AS_INDICES])
def test_every_kind_of_whole_number_is_an_index(number):
    env, expected = (MAKERS["single"]("recsim_env/Video-v0") for _ in range(2))
    env.reset(seed=1)
    expected.reset(seed=1)
    assert same(env.step(number(7)), expected.step(7))


@pytest.mark.parametrize("as_indices", AS_INDICES)
def test_an_index_may_have_a_dimension_of_one(as_indices):
    env, expected = (MAKERS["single"]("recsim_env/Video-v0") for _ in range(2))
    envs, expected_envs = (MAKERS["vector"]("recsim_env/Video-v0") for _ in range(2))
    for each in (env, expected, envs, expected_envs):
        each.reset(seed=1)
    assert same(env.step(as_indices([7])), expected.step(7))
    assert same(envs.step(as_indices([[7], [8]])), expected_envs.step([7, 8]))


def test_a_refusal_speaks_of_the_action_that_was_given():
    env, envs = MAKERS["single"]("recsim_env/Video-v0"), MAKERS["vector"]("recsim_env/Video-v0")
    slate = MAKERS["single"]("recsim_env/VideoSlate-v0")
    for each in (env, envs, slate):
        each.reset(seed=1)
    assert refusal_of(lambda: env.step([3, 4])) == "action of shape (2,): must be of shape () or (1,)"
    assert refusal_of(lambda: slate.step(3)) == "action of shape (): must be of shape (5,)"
    assert (
        refusal_of(lambda: envs.step([3, 4, 5]))
        == "action of shape (3,): must be of shape (2,) or (2, 1) (sessions first)"
    )
    for each, actions in ((env, [20]), (envs, [3, 20])):
        assert refusal_of(lambda: each.step(actions)) == "action=20: must be a candidate in [0, 19]"  # noqa: B023


def test_action_masks_repeat_the_candidates_for_each_slot(env_id):
    env = gymnasium.make(env_id).unwrapped
    observation, _ = env.reset(seed=0)
    masks = env.action_masks()
    assert masks.dtype == np.bool_
    expected = np.tile(observation["candidate_mask"] == 1.0, env.simulator.config.slate_size)
    np.testing.assert_array_equal(masks, expected)
