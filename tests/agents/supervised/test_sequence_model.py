"""The sequence model: its log, its training windows, its causal encoder, and its training."""

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import recsim_env  # noqa: F401  (registers the ids)
from agents.callbacks import EveryNSteps
from agents.rollouts.evaluation import evaluate
from agents.rollouts.logged_sessions import log_sessions, windows_of
from agents.rules.popularity import PopularityAgent
from agents.supervised.sequence_model import RewardPredictor, SequenceModel, SequenceSizes, learning_rate_factor, loss
from recsim_env.sb3.candidate_scorer import MISSING
from recsim_env.simulation.observation import FEEDBACK

TRAIN = {"split": "train", "catalog_seed": 0}
SMALL = {"width": 16, "num_epochs": 1}


def small_env(num_envs: int = 4, **options):
    return gymnasium.make_vec(
        "recsim_env/Video-v0",
        num_envs,
        session_length=6,
        autoreset_mode="SameStep",
        **{"observation": "full", **options},
    )


def first_slots(slate_size: int):
    """A policy that always shows the first candidates."""

    def policy(observations, episode_start):
        slates = np.tile(np.arange(slate_size), (len(episode_start), 1))
        return slates[:, 0] if slate_size == 1 else slates

    return policy


def network_for(env, seed: int = 0) -> RewardPredictor:
    layout = env.simulator.layout
    torch.manual_seed(seed)
    sizes = SequenceSizes.of(
        layout, width=16, profile=layout.num_profile_features, history_length=layout.history_length
    )
    return RewardPredictor(sizes)


def windows_from(sessions, history_length: int, slate_size: int) -> dict[str, torch.Tensor]:
    windows = [window for session in sessions for window in windows_of(session, history_length, slate_size)]
    return {name: torch.as_tensor(np.stack([each[name] for each in windows])) for name in windows[0]}


@pytest.mark.parametrize("slate_size", [1, 5])
def test_the_log_holds_the_items_users_clicks_and_rewards_of_each_step(slate_size):
    options = {"slate_size": slate_size, "overrides": {"behaviour": {"choose_again_probability": 0.0}}}
    env = small_env(**options)
    sessions = list(log_sessions(env, first_slots(slate_size), 14, seed=3))
    again = small_env(**options)
    layout = again.simulator.layout
    observations, _ = again.reset(seed=3)
    actions = np.zeros(4, np.int64) if slate_size == 1 else np.tile(np.arange(slate_size), (4, 1))
    expected = [[] for _ in range(4)]
    rewards, is_start, num_neutral = [[] for _ in range(4)], [[True] for _ in range(4)], 0
    for _ in range(14):
        candidates = observations["candidates"].reshape(4, *layout.candidates_shape)[:, :slate_size]
        users = observations["user"]
        observations, reward, terminated, truncated, _ = again.step(actions)
        for lane in range(4):
            expected[lane].append((users[lane], candidates[lane]))
            rewards[lane].append(reward[lane])
            is_start[lane].append(bool(terminated[lane] or truncated[lane]))
    logged = iter(sessions)
    for lane in range(4):
        starts = [n for n in range(14) if is_start[lane][n]]
        for start, end in zip(starts, [*starts[1:], 14], strict=True):
            session = next(logged)
            steps = expected[lane][start:end]
            np.testing.assert_array_equal(session["items"], np.concatenate([items for _, items in steps]))
            np.testing.assert_array_equal(session["users"], np.repeat([user for user, _ in steps], slate_size, 0))
            rewards_of_items = session["rewards"].reshape(-1, slate_size)
            assert rewards_of_items.sum(1) == pytest.approx(slate_size * np.array(rewards[lane][start:end]), rel=1e-5)
            assert (session["is_clicked"].reshape(-1, slate_size).sum(1) <= 1).all()
            assert (session["rewards"][~session["is_clicked"]] == 0.0).all()
            num_before = len(session["rows"]) - len(session["items"])
            assert (
                session["num_seen"].tolist()
                == np.repeat(num_before + slate_size * np.arange(len(steps)), slate_size).tolist()
            )
            num_content = layout.num_content_features
            np.testing.assert_allclose(session["rows"][num_before:, :num_content], session["items"][:, :num_content])
            clicks = session["rows"][num_before:, num_content + FEEDBACK.index("click")]
            np.testing.assert_array_equal(clicks, session["is_clicked"])
            num_neutral += int((session["is_clicked"] & (session["rewards"] == 0.0)).sum())
    assert num_neutral > 0  # clicks that were rated 2, or not rated well, are clicks
    assert next(logged, None) is None


@given(
    num_before=st.integers(0, 12),
    num_slates=st.integers(1, 12),
    slate_size=st.integers(1, 3),
    history_length=st.integers(2, 7),
)
def test_every_item_is_a_target_once_after_the_rows_before_it(num_before, num_slates, slate_size, history_length):
    num_items = num_slates * slate_size
    rows = np.arange(1, num_before + num_items + 1, dtype=np.float32)[:, None]
    session = {
        "rows": rows,
        "num_seen": np.repeat(num_before + slate_size * np.arange(num_slates), slate_size),
        "users": np.zeros((num_items, 1), np.float32),
        "items": np.arange(num_items, dtype=np.float32)[:, None],
        "is_clicked": np.zeros(num_items, np.bool_),
        "rewards": np.arange(num_items, dtype=np.float32),
    }
    targets = []
    for window in windows_of(session, history_length, slate_size):
        seen, is_target = window["num_seen"], window["is_target"]
        assert window["rows"].shape == (history_length, 1)
        assert (seen[is_target] <= history_length).all()
        for item, count, reward in zip(
            window["items"][is_target, 0], seen[is_target], window["rewards"][is_target], strict=True
        ):
            before = session["num_seen"][int(item)]
            expected = rows[before - count : before, 0]  # the latest rows: all of them, or more than half a window
            assert window["rows"][:count, 0].tolist() == expected.tolist()
            assert count == before or count > history_length // 2
            assert reward == item
            targets.append(int(item))
    assert sorted(targets) == list(range(num_items))


def test_a_state_sees_no_later_row():
    torch.manual_seed(0)
    sizes = SequenceSizes(user=3, row=4, candidate=7, profile=3, width=8, num_layers=2, history_length=6)
    encoder = RewardPredictor(sizes).states
    profile, rows = torch.randn(2, 3), torch.randn(2, 6, 4)
    changed = rows.clone()
    changed[:, 3:] += 1.0
    before, after = encoder(profile, rows), encoder(profile, changed)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert (before[:, 4:] - after[:, 4:]).abs().amax((0, 2)).min() > 1e-3


def test_scores_in_play_equal_those_in_training():
    """Expected ratings at all positions of a window at once are those of the candidates at that time."""
    env = small_env(num_envs=3, slate_size=2)
    network, scores = network_for(env), []

    def policy(observations, episode_start):
        with torch.no_grad():
            scores.append(network({name: torch.as_tensor(part) for name, part in observations.items()})[:, :2].numpy())
        return first_slots(2)(observations, episode_start)

    sessions = list(log_sessions(env, policy, 6, seed=0))
    windows = windows_from(sessions, env.simulator.layout.history_length, 2)
    with torch.no_grad():
        states = network.states(windows["users"][:, 0], windows["rows"])
        clicks, rewards = network.outcomes(states, windows["num_seen"], windows["users"], windows["items"])
    in_training = (torch.sigmoid(clicks) * rewards)[windows["is_target"]].numpy()
    in_play = np.stack(scores)  # [steps, N, 2]
    np.testing.assert_allclose(in_training, in_play.transpose(1, 0, 2).ravel(), atol=1e-4)


def test_permuting_candidates_permutes_scores_and_missing_ones_come_last():
    env = small_env(num_envs=2)
    network = network_for(env)
    observations = {name: torch.as_tensor(part) for name, part in env.reset(seed=0)[0].items()}
    num_candidates = env.simulator.layout.num_candidates
    order = torch.randperm(num_candidates, generator=torch.Generator().manual_seed(0))
    observations["candidate_mask"][:, 2] = 0.0
    candidates = observations["candidates"].unflatten(1, (num_candidates, -1))
    permuted = observations | {
        "candidates": candidates[:, order].flatten(1),
        "candidate_mask": observations["candidate_mask"][:, order],
    }
    with torch.no_grad():
        scores = network(observations)
        assert torch.allclose(network(permuted), scores[:, order], atol=1e-5)
    assert (scores[:, 2] == MISSING).all()
    assert (scores.argmin(1) == 2).all()


def test_the_loss_ignores_padding():
    env = small_env()
    sessions = list(log_sessions(env, first_slots(1), 5, seed=1))
    windows = windows_from(sessions, env.simulator.layout.history_length, 1)
    network = network_for(env)
    with torch.no_grad():
        clicks, rewards = network.outcomes(
            network.states(windows["users"][:, 0], windows["rows"]),
            windows["num_seen"],
            windows["users"],
            windows["items"],
        )
        value = float(loss(network, windows))
    total, count = 0.0, 0
    for w, q in windows["is_target"].nonzero().tolist():
        is_clicked, reward, logit = bool(windows["is_clicked"][w, q]), windows["rewards"][w, q], float(clicks[w, q])
        probability = 1.0 / (1.0 + np.exp(-logit))
        total -= np.log(probability) if is_clicked else np.log(1.0 - probability)
        total += 0.5 * float(rewards[w, q] - reward) ** 2 if is_clicked else 0.0
        count += 1
    assert value == pytest.approx(total / count, rel=1e-4)
    windows["rewards"][~windows["is_target"]] = 99.0
    with torch.no_grad():
        assert float(loss(network, windows)) == pytest.approx(value)


def test_the_learning_rate_warms_up_linearly_and_falls_with_a_cosine():
    assert [learning_rate_factor(progress) for progress in (0.0, 0.025, 0.5, 1.0)] == pytest.approx(
        [0.0, 0.5 * 0.5 * (1 + np.cos(np.pi * 0.025)), 0.5, 0.0]
    )


def train(num_steps: int, callback=None, **settings) -> SequenceModel:
    env = gymnasium.make_vec("recsim_env/Video-v0", 8, **TRAIN, observation="full")
    return SequenceModel(env, **SMALL, **settings).learn(num_steps, callback)


def test_training_takes_the_budget_and_calls_back_after_each_round():
    steps = []
    train(80, EveryNSteps(1, lambda agent: steps.append(agent.num_timesteps)), num_rounds=2)
    assert steps == [0, 40, 64, 80]
    assert train(8, num_rounds=4).num_timesteps == 8


def test_training_is_reproducible_and_depends_on_the_seed():
    first, second, other = (train(64, seed=seed).network.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    assert any(not torch.equal(weight, other[name]) for name, weight in first.items())


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"width": 30}, "width=30"),
        ({"width": 12, "num_heads": 4}, "width=12: must be a multiple of 4 and of twice num_heads=4"),
        ({"num_rounds": 0}, "random_share=0.5"),
        ({"random_share": 1.0}, "random_share=1.0"),
        ({"random_share": 0.0}, "random_share=0.0"),
        ({"exploration": 1.5}, "exploration"),
        ({"num_heads": 0}, "num_heads"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, field):
    with pytest.raises(ValueError, match=field):
        SequenceModel(**settings)


def test_it_beats_popularity_in_music():
    env = gymnasium.make_vec("recsim_env/Music-v0", 64, **TRAIN, observation="full")
    agent = SequenceModel(env, num_epochs=3, width=32).learn(16_000)
    held_out = gymnasium.make_vec("recsim_env/Music-v0", 300, split="test", catalog_seed=1, observation="full")
    trained, popular = (evaluate(each, held_out, 5).returns for each in (agent, PopularityAgent()))
    gain = trained - popular
    assert gain.mean() > 2.0 * gain.std() / np.sqrt(len(gain))
