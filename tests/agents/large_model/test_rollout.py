"""Rollouts of the large model: recorded sessions, and scores that agree with those computed afterwards."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from small_large_models import (
    CPU,
    LENGTH,
    NUM_LANES,
    WORLDS,
    content_for,
    env_of,
    network_for,
    options_of,
    played,
    runner_of,
)

from agents.large_model.compact_observations import check_history
from agents.large_model.env import make_env
from agents.large_model.model import ROW_COLUMNS, LargeModelNetwork, Scores
from agents.large_model.rollout import Sessions, select_slates
from agents.large_model.session_state import Observation, ObservationReader, SessionState
from agents.networks.item_content import DYNAMICS, ItemContent
from agents.networks.plackett_luce import slate_log_probabilities
from recsim_env.sb3.network_units import with_network_units
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK, RELEVANCE_COLUMNS, STATISTICS

SEED = 3


@dataclass
class Played:
    env: Any
    model: LargeModelNetwork
    content: ItemContent
    sessions: Sessions


@pytest.fixture(params=WORLDS, scope="module")
def world(request) -> Played:
    """Sessions that a model has drawn its slates of, in each of the worlds."""
    env = env_of(request.param)
    model = network_for(env)
    content = content_for(env, model)
    sessions = played(model, env, content, SEED, exploration=0.3)
    assert len(set(sessions.lengths.tolist())) > 2  # some were dropped on the way
    env.world_name = request.param
    return Played(env, model, content, sessions)


def test_scores_in_play_equal_those_of_one_pass_over_the_record(world):
    with torch.no_grad():
        scores = world.model(world.sessions, world.content)
    steps = world.sessions.steps
    log_probabilities = slate_log_probabilities(scores.logits, steps.slates)
    torch.testing.assert_close(steps.log_probabilities, log_probabilities, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(steps.values, world.model.value_head.mean(scores.values), atol=1e-3, rtol=1e-4)
    assert log_probabilities.std() > 0.1
    assert steps.values.std() > 0.1


def test_a_part_of_the_sessions_is_scored_as_in_the_whole(world):
    chosen = torch.tensor([7, 2, 4])
    part = world.sessions.select(chosen)
    with torch.no_grad():
        scores, whole = (world.model(sessions, world.content) for sessions in (part, world.sessions))
    steps = world.sessions.steps
    for place, session in enumerate(chosen):
        of_part, of_whole = part.steps.sessions == place, steps.sessions == session
        torch.testing.assert_close(scores.logits[of_part], whole.logits[of_whole], atol=2e-4, rtol=1e-4)


def replayed(world: Played) -> list[dict[str, Any]]:
    """What an env of `"full"` observations hands out before each step when the same slates are shown."""
    env_id, options = options_of(world.env.world_name)
    env = gymnasium.make_vec(
        env_id, NUM_LANES, vectorization_mode="vector_entry_point", **{"observation": "full", **options}
    )
    observations, _ = env.reset(seed=SEED)
    found = []
    for step in range(world.sessions.rewards.shape[1]):
        slates = world.sessions.slates[:, step].numpy()
        actions = slates[:, 0] if slates.shape[1] == 1 else slates
        found.append({**observations, "items": np.array(env.simulator.sessions["candidates"])})
        observations, rewards, *_ = env.step(actions)
        found[-1]["rewards"] = rewards
    return found


def test_users_candidates_rows_and_rewards_are_those_of_the_env(world):
    sessions, layout = world.sessions, world.env.simulator.layout
    num_features, num_slots = layout.num_content_features, sessions.slates.shape[2]
    features = world.env.catalog_features
    for step, seen in enumerate(replayed(world)):
        for lane in np.flatnonzero(sessions.is_step[:, step]):
            np.testing.assert_array_equal(sessions.users[lane, step], seen["user"][lane])
            np.testing.assert_array_equal(sessions.candidates[lane, step], seen["items"][lane])
            assert sessions.rewards[lane, step] == pytest.approx(seen["rewards"][lane])
            history = seen["history"][lane].reshape(layout.history_shape)
            history = history[history[:, num_features] > 0.0][::-1]  # those in use, the oldest first
            end = int(sessions.num_rows[lane, step])
            items = sessions.row_items[lane, max(end - layout.history_length, 0) : end]
            outcomes = sessions.row_feedback[lane, max(end - layout.history_length, 0) : end]
            np.testing.assert_array_equal(features[items.numpy()], history[:, :num_features])
            np.testing.assert_array_equal(outcomes[:, : len(FEEDBACK)], history[:, num_features:])
            num_before = int(sessions.num_rows[lane, 0])
            assert end == num_before + step * num_slots
            shown_at = sessions.row_feedback[lane, num_before:end, ROW_COLUMNS.index("time")]
            torch.testing.assert_close(shown_at, (torch.arange(step) / LENGTH).repeat_interleave(num_slots))
            is_before = sessions.row_feedback[lane, :end, ROW_COLUMNS.index("before")]
            assert is_before.tolist() == [1.0] * num_before + [0.0] * (end - num_before)


def test_rows_hold_what_was_shown_and_clicked_and_end_with_the_session(world):
    sessions, num_slots = world.sessions, world.sessions.slates.shape[2]
    for lane, length in enumerate(sessions.lengths.tolist()):
        for step in range(length):
            begin = int(sessions.num_rows[lane, step])
            shown = sessions.candidates[lane, step][sessions.slates[lane, step]]
            assert sessions.row_items[lane, begin : begin + num_slots].tolist() == shown.tolist()
            clicked = sessions.row_feedback[lane, begin : begin + num_slots, ROW_COLUMNS.index("click")] > 0.0
            assert sessions.clicked[lane, step].tolist() == clicked.tolist()
            standing = sessions.row_feedback[lane, begin : begin + num_slots, -len(DYNAMICS) :]
            chosen = sessions.dynamics[lane, step][sessions.slates[lane, step]]
            assert torch.equal(standing, chosen)  # rows tell how an item stood when it was shown
        assert (sessions.row_items[lane, begin + num_slots :] == -1).all()
    assert 0 < sessions.clicked.sum() < sessions.num_steps
    rows = [int(sessions.num_rows[lane, 0]) + num_slots * length for lane, length in enumerate(sessions.lengths)]
    assert sessions.num_tokens == NUM_LANES + sum(rows)


def test_dynamics_equal_those_of_the_dict_observation(world):
    sessions, layout = world.sessions, world.env.simulator.layout
    named = {name: place for place, name in enumerate(DYNAMICS)}
    columns = {name: layout.num_content_features + place for place, name in enumerate(CANDIDATE_COLUMNS)}
    num_compared = num_plays = 0
    for step, seen in enumerate(replayed(world)):
        for lane in np.flatnonzero(sessions.is_step[:, step]):
            observed = torch.tensor(seen["candidates"][lane].reshape(layout.candidates_shape))
            candidates = with_network_units(observed).numpy()
            own = sessions.dynamics[lane, step].numpy()
            end = int(sessions.num_rows[lane, step])
            rows = sessions.row_items[lane, :end].numpy()
            np.testing.assert_array_equal(own[:, named["age"]], candidates[:, columns["age"]])
            is_new = ~np.isin(sessions.candidates[lane, step].numpy(), rows)
            for name in STATISTICS:
                np.testing.assert_allclose(own[is_new, named[name]], candidates[is_new, columns[name]], atol=1e-5)
            for name, unit in zip(RELEVANCE_COLUMNS, (4.0, 2.0, 1.0), strict=True):
                np.testing.assert_allclose(own[:, named[name]], unit * candidates[:, columns[name]], atol=1e-5)
            if end <= layout.history_length:  # beyond it the env has forgotten what the model has not
                plays = np.minimum(candidates[:, columns["plays"]] * 16.0 / 4.0, 1.0)
                np.testing.assert_allclose(own[:, named["plays"]], plays, atol=1e-6)
                np.testing.assert_array_equal(own[:, named["followed"]], candidates[:, columns["followed"]])
                num_plays += (plays > 0.0).sum()
            num_compared += is_new.sum()
    assert num_compared > 100
    if world.env.world_name == "warm users":
        assert num_plays > 0
    if world.env.world_name == "creators":
        assert sessions.dynamics[:, :, :, named["followed"]].sum() > 0.0


def test_the_last_change_of_following_a_creator_counts():
    env = env_of("creators", 1)
    content = content_for(env, network_for(env))
    creators = env.catalog_creators
    theirs = np.flatnonzero(creators == creators[0])[:3].tolist()
    other = int(np.flatnonzero(creators != creators[0])[0])
    rows = torch.tensor([[theirs[0], other, theirs[1], -1]])
    candidates, relevance, times = torch.tensor([[theirs[2], other]]), torch.zeros(1, 2, 3), torch.tensor([0])
    for follows, is_followed in (
        *[([1.0, 0.0, 0.0, 0.0], 1.0), ([-1.0, 0.0, 0.0, 0.0], 0.0), ([1.0, 0.0, -1.0, 0.0], 0.0)],
        *[([-1.0, 0.0, 1.0, 0.0], 1.0), ([0.0, 0.0, 0.0, 0.0], 0.0)],
    ):
        feedback = torch.zeros(1, 4, len(ROW_COLUMNS))
        feedback[0, :, ROW_COLUMNS.index("follow")] = torch.tensor(follows)
        found = content.dynamics(candidates, relevance, times, rows, feedback)[0, :, DYNAMICS.index("followed")]
        assert found.tolist() == [is_followed, 0.0]
    empty = content.dynamics(candidates, relevance, times, rows[:, :0], torch.zeros(1, 0, len(ROW_COLUMNS)))
    assert (empty[0, :, DYNAMICS.index("followed")] == 0.0).all()


def memory_of(env: Any, model: LargeModelNetwork, content: ItemContent, num_sessions: int) -> SessionState:
    config = env.simulator.config
    return SessionState.of(model, config, content, num_sessions, config.history_length)


@pytest.mark.parametrize("name", ["single items", "slates"])
def test_consecutive_sessions_are_scored_like_each_alone(name):
    env = env_of(name, 5)
    model = network_for(env)
    content, config = content_for(env, model), env.simulator.config
    runner = runner_of(model, env, 5)
    read = ObservationReader(env.simulator, model.schema, CPU)
    observations, _ = env.reset(seed=SEED)
    is_first = np.ones(5, np.bool_)
    since: list[list[tuple[Observation, Scores]]] = [[] for _ in range(5)]
    num_begun = 0
    for _ in range(2 * LENGTH):
        reading = read(observations)
        scores = runner.scores(observations, is_first)
        for lane in range(5):
            if is_first[lane]:
                since[lane], num_begun = [], num_begun + 1
            since[lane].append((reading.select(torch.tensor([lane])), scores.logits[lane]))
        slates = torch.topk(scores.logits, config.slate_size).indices.numpy()
        observations, _, terminated, truncated, _ = env.step(slates[:, 0] if config.slate_size == 1 else slates)
        is_first = terminated | truncated
    assert num_begun > 8
    for lane in range(5):
        alone = memory_of(env, model, content, 1)
        for step, (reading, logits) in enumerate(since[lane]):
            with torch.no_grad():
                if step == 0:
                    alone.start(reading)
                else:
                    alone.update(reading, torch.tensor([config.slate_size]))
                found = alone.scores(reading, alone.dynamics(reading)).logits[0]
            torch.testing.assert_close(found, logits, atol=2e-4, rtol=1e-4)


def test_a_session_read_from_its_middle_equals_a_followed_one():
    env = env_of("slates", 3)
    model = network_for(env)
    content, config = content_for(env, model), env.simulator.config
    read = ObservationReader(env.simulator, model.schema, CPU)
    readings = [read(env.reset(seed=SEED)[0])]
    memories = [memory_of(env, model, content, 3) for _ in range(2)]
    followed, met = memories
    with torch.no_grad():
        followed.start(readings[0])
        for _ in range(2):  # no session is over so soon
            readings.append(read(env.step(np.tile(np.arange(config.slate_size), (3, 1)))[0]))
            followed.update(readings[-1], torch.full((3,), config.slate_size))
        met.start(readings[-1])
        found, expected = (memory.scores(readings[-1], memory.dynamics(readings[-1])).clicks for memory in memories)
    torch.testing.assert_close(met.feedback, followed.feedback)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_a_session_with_moods_read_from_its_middle_equals_a_followed_one():
    env = make_env("recsim_env/Music-v0", 8, overrides={"population": {"warm_share": 0.0, "patience_mean": 1e5}})
    model = network_for(env)
    read = ObservationReader(env.simulator, model.schema, CPU)
    memories = [memory_of(env, model, content_for(env, model), 8) for _ in range(2)]
    followed, met = memories
    moods = [name.startswith("mood") for name in model.schema.user_names]
    reading = first = read(env.reset(seed=SEED)[0])
    with torch.no_grad():
        followed.start(reading)
        for _ in range(10):
            reading = read(env.step(np.zeros(8, np.int64))[0])
            followed.update(reading, torch.ones(8, dtype=torch.int64))
        assert (reading.users != first.users)[:, moods].any()  # or else this shows nothing
        met.start(reading)
        found, expected = (memory.scores(reading, memory.dynamics(reading)).logits for memory in memories)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_without_history_feedback_changes_no_score():
    env = env_of("single items", 4)
    model = network_for(env)
    reads, reads_not = (runner_of(model, env, 4, reads) for reads in (True, False))
    read, alone = ObservationReader(env.simulator, model.schema, CPU), memory_of(env, model, content_for(env, model), 4)
    is_first = np.ones(4, bool)
    observations, _ = env.reset(seed=SEED)
    for _ in range(3):  # no session is over so soon
        informed = reads.scores(observations, is_first).logits
        reading = read(observations).without_history()
        with torch.no_grad():
            alone.start(reading)
            expected = alone.scores(reading, alone.dynamics(reading)).logits
        changed = {**observations, "history_feedback": 1.0 - observations["history_feedback"]}
        for each in (observations, changed):
            torch.testing.assert_close(reads_not.scores(each, is_first).logits, expected)
        observations, is_first = env.step(np.zeros(4, np.int64))[0], np.zeros(4, bool)
    assert not torch.allclose(informed, expected)


def test_a_step_without_items_leaves_the_state_unchanged():
    env = env_of("single items", 2)
    model = network_for(env)
    content = content_for(env, model)
    observations, _ = env.reset(seed=SEED)
    reading = ObservationReader(env.simulator, model.schema, CPU)(observations)
    memory = memory_of(env, model, content, 2)
    with torch.no_grad():
        memory.start(reading)
        before = memory.states.clone()
        memory.update(reading, torch.tensor([0, 0]))
    torch.testing.assert_close(memory.states, before)
    assert memory.num_rows.tolist() == [0, 0]


def test_the_same_seed_plays_the_same_sessions(world):
    again = played(world.model, world.env, world.content, SEED, exploration=0.3)
    assert (again.slates == world.sessions.slates).all()
    assert (again.rewards == world.sessions.rewards).all()
    best = played(world.model, world.env, world.content, SEED, selection="greedy")
    with torch.no_grad():
        logits = world.model(best, world.content).logits
    largest = logits.topk(best.slates.shape[2]).values
    torch.testing.assert_close(logits.gather(1, best.steps.slates), largest, atol=1e-3, rtol=1e-4)


def test_the_supervised_selection_has_the_highest_expected_rewards(world):
    sessions = played(world.model, world.env, world.content, SEED, selection="supervised")
    with torch.no_grad():
        worths = world.model(sessions, world.content).expected_rewards
    largest = worths.topk(sessions.slates.shape[2]).values
    torch.testing.assert_close(worths.gather(1, sessions.steps.slates), largest, atol=1e-3, rtol=1e-4)


def test_exploration_is_the_share_of_random_slates():
    logits = torch.tensor([9.0, 0.0, 0.0, 0.0, -1e9]).expand(4_000, -1)
    nothing = torch.zeros(4_000, 5)
    scores = Scores(logits=logits, clicks=nothing, rewards=nothing, values=nothing, temperature=torch.tensor(1.0))
    candidates = torch.tensor([3, 1, 4, 5, -1]).expand(4_000, -1)
    generator = torch.Generator().manual_seed(0)
    slates = select_slates(scores, candidates, 1, generator, "greedy", 0.4)[:, 0]
    shares = slates.bincount(minlength=5) / 4_000
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.1, 0.1, 0.1, 0.0]), atol=0.03, rtol=0.0)


def test_an_env_with_too_short_a_history_is_refused_in_one_line():
    env = gymnasium.make_vec(
        "recsim_env/VideoSlate-v0",
        1,
        vectorization_mode="vector_entry_point",
        history_length=4,
        slate_size=5,
        observation="full",
    )
    with pytest.raises(ValueError, match=r"^history_length=4: must be at least slate_size=5") as raised:
        check_history(env.simulator)
    assert "\n" not in str(raised.value)
