"""The two custom user models after RecSim, compared with their equations and the claims about them."""

import importlib.util
import math
import subprocess
import sys
from types import ModuleType

import gymnasium
import numpy as np
import pytest
from conftest import CHECKOUT
from gymnasium.utils.env_checker import check_env
from scipy import stats

from recsim_env.simulation.random_streams import Purpose, normal, uniform

EXAMPLES = CHECKOUT / "examples"
UNLIKELY = 1e-4  # seeds are fixed: a test that passes once passes always


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


choc_kale, interest_evolution = load("choc_kale"), load("interest_evolution")


def logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def items_on(slates: np.ndarray, sessions: np.ndarray, world) -> np.ndarray:
    """[N, S] records of what is shown, top slot first."""
    return world.item_records[np.take_along_axis(np.array(sessions["candidates"]), slates, 1)]


def answer(session, weights: list[float]) -> int:
    """Which of several things a user does whose chances are in proportion to `weights`."""
    shares = np.cumsum(weights) / np.sum(weights)
    return int(np.searchsorted(shares, uniform(session["noise_key"], session["step"], Purpose.CHOICE, 0), "right"))


def distinct_slates(generator: np.random.Generator, num_lanes: int, size: int) -> np.ndarray:
    return np.stack([generator.permutation(20)[:size] for _ in range(num_lanes)])


@pytest.fixture(scope="module")
def chocolate():
    """A simulator of five sessions of choc and kale, with a slate of three."""
    return choc_kale.make(5, slate_size=3, session_length=200, autoreset_mode="SameStep")


@pytest.fixture(scope="module")
def many_chocolates():
    return choc_kale.make(400)


@pytest.fixture(scope="module")
def viewers():
    """Five sessions of interest evolution, with a slate of three."""
    return interest_evolution.make(5, slate_size=3, autoreset_mode="SameStep")


@pytest.fixture(scope="module")
def many_viewers():
    return interest_evolution.make(20_000)


def kaleness_of(items: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(items["appeal"] - items["quality"]))


def places_of_extremes(simulator) -> tuple[np.ndarray, np.ndarray]:
    """For each session, the places of the candidates with the least and the most kaleness, as slates of one."""
    k = kaleness_of(simulator.world.item_records[np.array(simulator.sessions["candidates"])])
    return k.argmin(1)[:, None], k.argmax(1)[:, None]


def test_a_visit_to_choc_and_kale_starts_as_stated(chocolate):
    chocolate.reset(seed=3)
    for session in chocolate.simulator.sessions:
        u = uniform(session["noise_key"], 0, Purpose.MOOD, 0)
        assert session["custom"].tolist() == pytest.approx([(u - 0.5) / 0.3, 60.0, 0, 0, 0, 0, 0, 0])


def test_steps_of_choc_and_kale_are_those_computed_by_hand(chocolate):
    chocolate.reset(seed=0)
    simulator, generator, shown_slots = chocolate.simulator, np.random.default_rng(0), set()
    for step in range(61):  # into the sessions that come after
        slates = distinct_slates(generator, 5, 3)
        before = simulator.sessions.copy()
        shown = items_on(slates, before, simulator.world)
        _, rewards, terminated, truncated, infos = chocolate.step(slates)
        infos = infos["final_info"] if terminated.any() else infos
        assert not truncated.any()
        for n, session in enumerate(before):
            ks = [logistic(float(item["quality"]) - float(item["appeal"])) for item in shown[n]]
            slot = answer(session, [math.exp(1.0 - k) for k in ks])
            shown_slots.add(slot)
            k, n_before = ks[slot], float(session["custom"][0])
            s = logistic(0.5 * n_before)
            draws = session["noise_key"], session["step"]
            log_engagement = s * (4.0 * k + 5.0 * (1.0 - k)) + 1.0 * normal(*draws, Purpose.RATING, 0)
            assert rewards[n] == pytest.approx(min(max(log_engagement, 0.0), 5.0) / 3, abs=1e-12)
            assert infos["reward_click"][n] == pytest.approx(1 / 3)
            assert infos["reward_consumption"][n] == pytest.approx(s / 3)
            time_left = float(session["custom"][1]) - 1.0
            assert terminated[n] == (time_left == 0.0) == (step == 59)
            if not terminated[n]:
                exposure = 0.7 * n_before + 2.0 * (k - 0.5) + 0.05 * normal(*draws, Purpose.CONSUMPTION, 0)
                after = simulator.sessions[n]
                assert after["custom"][:2].tolist() == pytest.approx([exposure, time_left], abs=1e-12)
                last = (int(after["num_shown"]) - 3 + slot) % len(after["history_items"])
                assert after["history_items"][last] == shown[n, slot]["index"]
                assert after["history_feedback"][last, 1] == 1.0
    assert shown_slots == {0, 1, 2}


def test_an_item_is_chosen_in_proportion_to_the_exponential_of_its_chocness():
    envs = choc_kale.make(20_000, slate_size=3)
    envs.reset(seed=0, options={"candidate_seed": 5})
    simulator = envs.simulator
    simulator.sessions["candidates"] = simulator.sessions["candidates"][0]  # the same for all
    k = kaleness_of(simulator.world.item_records[simulator.sessions["candidates"][0]])
    slate = np.argsort(k)[[0, 10, 19]]
    simulator.step(np.tile(slate, (20_000, 1)))
    clicks = simulator.sessions["history_feedback"][:, :3, 1].sum(0)
    weights = np.exp(1.0 - k[slate])
    assert clicks.sum() == 20_000
    assert stats.chisquare(clicks, 20_000 * weights / weights.sum()).pvalue > UNLIKELY


def test_kale_raises_the_net_kale_exposure_and_choc_lowers_it(many_chocolates):
    many_chocolates.reset(seed=0)
    simulator = many_chocolates.simulator
    for places, sign in zip(places_of_extremes(simulator), (-1.0, 1.0), strict=True):
        state = simulator.state()
        simulator.sessions["custom"][:, choc_kale.EXPOSURE] = 0.0
        simulator.step(places)
        moved = simulator.sessions["custom"][:, choc_kale.EXPOSURE]
        assert (sign * moved > 0.0).all()
        assert np.abs(moved).mean() == pytest.approx(0.9, abs=0.1)  # 2 (k - 1/2), with k near 0 or 1
        simulator.restore(state)


def test_exposure_is_constant_where_gains_equal_forgetting(many_chocolates):
    many_chocolates.reset(seed=0)
    simulator = many_chocolates.simulator
    for _ in range(40):
        simulator.step(places_of_extremes(simulator)[1])
    k = kaleness_of(simulator.world.item_records)
    limit = 2.0 * (np.sort(k)[-200:].mean() - 0.5) / (1.0 - 0.7)
    assert simulator.sessions["custom"][:, choc_kale.EXPOSURE].mean() == pytest.approx(limit, rel=0.05)


def test_satisfaction_and_with_it_engagement_rises_with_exposure(many_chocolates):
    many_chocolates.reset(seed=0)
    simulator = many_chocolates.simulator
    for name in ("world_key", "noise_key", "candidates"):
        simulator.sessions[name] = simulator.sessions[name][0]  # the same in all lanes
    exposures = np.linspace(-3.3, 3.3, 400)
    simulator.sessions["custom"][:, choc_kale.EXPOSURE] = exposures
    outcomes = simulator.step(np.zeros((400, 1), np.int64))
    assert (np.diff(outcomes["consumption"]) > 0.0).all()
    assert outcomes["consumption"] == pytest.approx([logistic(0.5 * n) for n in exposures])
    is_inside = (outcomes["rating"] > 0.0) & (outcomes["rating"] < 5.0)
    assert is_inside.sum() > 200
    assert (np.diff(outcomes["rating"]) > 0.0)[is_inside[1:] & is_inside[:-1]].all()


def test_choc_is_best_for_a_step_and_kale_for_a_session(many_chocolates):
    firsts, totals = [], []
    for which in (0, 1):
        many_chocolates.reset(seed=0)
        simulator, rewards = many_chocolates.simulator, []
        for _ in range(60):
            rewards.append(np.array(simulator.step(places_of_extremes(simulator)[which])["reward"]))
        firsts.append(rewards[0])
        totals.append(np.sum(rewards, axis=0))
    assert firsts[0].mean() > firsts[1].mean()
    assert (totals[1] > totals[0] + 50.0).all()


def test_the_time_budget_of_60_ends_a_session_after_60_steps(many_chocolates):
    many_chocolates.reset(seed=1)
    for step in range(1, 61):
        _, _, terminated, truncated, _ = many_chocolates.step(np.zeros(400, np.int64))
        assert (terminated == (step == 60)).all()
        assert not truncated.any()


def test_item_statistics_and_expected_rewards_follow_choc_and_kale(many_chocolates):
    many_chocolates.reset(seed=2)
    simulator = many_chocolates.simulator
    expected = simulator.latent_state()["expected_rewards"]
    k = kaleness_of(simulator.world.item_records[np.array(simulator.sessions["candidates"])])
    s = 1.0 / (1.0 + np.exp(-0.5 * np.array(simulator.sessions["custom"])[:, :1]))
    np.testing.assert_allclose(expected, s * (4.0 * k + 5.0 * (1.0 - k)), rtol=1e-12)
    statistics = simulator.world.item_statistics[-1]
    assert (statistics[:, 1] == 1.0).all()  # an item shown alone is always chosen
    by_kaleness = np.argsort(kaleness_of(simulator.world.item_records)).reshape(50, -1)  # means of 40 items: less noise
    means = [values[by_kaleness].mean(1) for values in (statistics[:, 2], kaleness_of(simulator.world.item_records))]
    assert np.corrcoef(*means)[0, 1] < -0.99


def topic_of(item) -> int:
    return max(range(20), key=lambda topic: item["topics"][topic])


def quality_of_topic(topic: int) -> float:
    """From -3 to 0 over the 14 trashy topics, from 0 to 3 over the 6 nutritious ones."""
    return -3.0 + 3.0 * topic / 13 if topic < 14 else 3.0 * (topic - 14) / 5


def test_a_visit_of_interest_evolution_starts_as_stated(viewers, many_viewers):
    viewers.reset(seed=3)
    for session in viewers.simulator.sessions:
        assert session["custom"].tolist() == [200.0, 0, 0, 0, 0, 0, 0, 0]
        drawn = [2.0 * uniform(session["user_key"], 0, Purpose.MOOD, d) - 1.0 for d in range(20)]
        assert session["interests"].tolist() == drawn
    many_viewers.reset(seed=0)
    interests = np.array(many_viewers.simulator.sessions["interests"])
    assert stats.kstest(interests[:, 7], "uniform", (-1.0, 2.0)).pvalue > UNLIKELY
    assert abs(np.corrcoef(interests.T) - np.eye(20)).max() < 0.04


def test_steps_of_interest_evolution_are_those_computed_by_hand(viewers):
    viewers.reset(seed=0)
    simulator, generator, happened = viewers.simulator, np.random.default_rng(1), set()
    for _ in range(150):
        slates = distinct_slates(generator, 5, 3)
        before = simulator.sessions.copy()
        shown = items_on(slates, before, simulator.world)
        _, rewards, terminated, truncated, _ = viewers.step(slates)
        assert not truncated.any()
        for n, session in enumerate(before):
            interests, time_left = session["interests"].tolist(), float(session["custom"][0])
            topics = [topic_of(item) for item in shown[n]]
            slot = answer(session, [2.0, *(interests[topic] + 1.0 for topic in topics)]) - 1
            if slot < 0:
                expected, time_left = 0.0, time_left - 0.5
                happened.add("none")
            else:
                topic, watched = topics[slot], min(4.0, time_left)
                u, quality = interests[topic], quality_of_topic(topics[slot]) + float(shown[n, slot]["quality"])
                expected = 5.0 * watched / 4.0
                time_left += 0.9 / 3.4 * watched * quality - watched  # alpha is 1: the appeal is the quality
                delta = 0.3 * (1.0 - abs(u)) * (1.0 - u)
                is_up = uniform(session["noise_key"], session["step"], Purpose.FOLLOW, 0) < (u + 1.0) / 2.0
                interests[topic] = min(max(u + delta if is_up else u - delta, -1.0), 1.0)
                happened |= {f"slot {slot}", "up" if is_up else "down", "short" if watched < 4.0 else "whole"}
            assert rewards[n] == pytest.approx(expected / 3, abs=1e-12)
            assert terminated[n] == (time_left <= 0.0)
            if terminated[n]:
                happened.add("end")
            else:
                assert simulator.sessions[n]["custom"][0] == pytest.approx(time_left, abs=1e-9)
                assert simulator.sessions[n]["interests"].tolist() == pytest.approx(interests, abs=1e-12)
    assert happened == {"none", "slot 0", "slot 1", "slot 2", "up", "down", "short", "whole", "end"}


def show_one_topic(simulator, topic: int, interest: float) -> np.ndarray:
    """Show all users a document of a topic in which they have that interest; whether they watched it."""
    documents = simulator.world.item_records
    simulator.sessions["candidates"][:, 0] = np.flatnonzero(documents["topics"][:, topic] > 0.99)[0]
    simulator.sessions["interests"][:, topic] = interest
    outcomes = simulator.step(np.zeros((len(simulator), 1), np.int64))
    return np.array(outcomes["click"]) == 1.0


@pytest.mark.parametrize("interest", [-0.6, 0.0, 0.8])
def test_an_interest_moves_up_with_a_probability_of_half_of_itself_and_one(many_viewers, interest):
    many_viewers.reset(seed=7)
    simulator = many_viewers.simulator
    is_watched = show_one_topic(simulator, 4, interest)
    moved = np.array(simulator.sessions["interests"])[:, 4]
    assert (moved[~is_watched] == interest).all()
    num_watched, num_up = int(is_watched.sum()), int((moved[is_watched] > interest).sum())
    assert num_watched > 3_000
    assert stats.binomtest(num_up, num_watched, (interest + 1.0) / 2.0).pvalue > UNLIKELY
    step = 0.3 * (1.0 - abs(interest)) * (1.0 - interest)
    assert sorted(set(np.round(moved[is_watched] - interest, 12))) == pytest.approx([-step, step])


@pytest.mark.parametrize("interest", [-1.0, -0.5, 0.0, 1.0])
def test_a_document_is_chosen_in_proportion_to_interest_plus_one(many_viewers, interest):
    many_viewers.reset(seed=8)
    num_watched = int(show_one_topic(many_viewers.simulator, 11, interest).sum())
    assert stats.binomtest(num_watched, 20_000, (interest + 1.0) / (interest + 3.0)).pvalue > UNLIKELY


def test_of_several_documents_each_is_chosen_in_proportion_to_interest_plus_one():
    envs = interest_evolution.make(20_000, slate_size=3)
    envs.reset(seed=9)
    simulator = envs.simulator
    topics = simulator.world.item_records["topics"]
    simulator.sessions["candidates"][:, :3] = [np.flatnonzero(topics[:, topic] > 0.99)[0] for topic in (2, 9, 16)]
    simulator.sessions["interests"][:, [2, 9, 16]] = [-0.5, 0.0, 1.0]
    simulator.step(np.tile([0, 1, 2], (20_000, 1)))
    clicks = simulator.sessions["history_feedback"][:, :3, 1].sum(0)
    found = [*clicks, 20_000 - clicks.sum()]
    assert stats.chisquare(found, 20_000 * np.array([0.5, 1.0, 2.0, 2.0]) / 5.5).pvalue > UNLIKELY


@pytest.mark.parametrize(("time_left", "topic"), [(200.0, 0), (200.0, 19), (2.5, 0), (2.5, 19), (4.0, 13)])
def test_the_budget_of_time_is_kept_by_hand(many_viewers, time_left, topic):
    many_viewers.reset(seed=10)
    simulator = many_viewers.simulator
    simulator.sessions["custom"][:, interest_evolution.TIME_LEFT] = time_left
    is_watched = show_one_topic(simulator, topic, 0.9)
    left = np.array(simulator.sessions["custom"])[:, interest_evolution.TIME_LEFT]
    assert (left[~is_watched] == time_left - 0.5).all()
    document = np.flatnonzero(simulator.world.item_records["topics"][:, topic] > 0.99)[0]
    worth = {0: -3.0, 13: 0.0, 19: 3.0}[topic] + float(simulator.world.item_records["quality"][document])
    watched = min(time_left, 4.0)
    assert left[is_watched] == pytest.approx(time_left - watched + 0.9 / 3.4 * watched * worth)
    outcomes = simulator.outcomes
    assert outcomes["reward"][is_watched] == pytest.approx(5.0 * watched / 4.0)
    assert (outcomes["terminated"] == (left <= 0.0)).all()


def test_a_session_lasts_as_long_as_its_budget_and_longer_with_nutritious_topics():
    envs, lengths = interest_evolution.make(300), []
    for sign in (-1.0, 1.0):
        envs.reset(seed=11)
        simulator = envs.simulator
        documents = simulator.world.item_records
        worth = documents["quality"] + [quality_of_topic(topic) for topic in documents["topics"].argmax(1)]
        is_there, length = np.ones(300, bool), np.zeros(300)
        while is_there.any():
            outcomes = simulator.step((sign * worth[np.array(simulator.sessions["candidates"])]).argmax(1)[:, None])
            length += is_there
            time_left = simulator.sessions["custom"][:, interest_evolution.TIME_LEFT]
            assert ((time_left <= 0.0) == outcomes["terminated"])[is_there].all()
            is_there &= ~np.array(outcomes["terminated"])
        lengths.append(length)
    assert np.median(lengths[1]) > 1.3 * np.median(lengths[0])


def test_item_statistics_and_expected_rewards_follow_interest_evolution(many_viewers):
    many_viewers.reset(seed=12)
    simulator = many_viewers.simulator
    expected = simulator.latent_state()["expected_rewards"][:100]
    candidates = np.array(simulator.sessions["candidates"])[:100]
    topics = simulator.world.item_records["topics"].argmax(1)[candidates]
    u = np.take_along_axis(np.array(simulator.sessions["interests"])[:100], topics, 1)
    np.testing.assert_allclose(expected, 5.0 * (u + 1.0) / (u + 3.0), rtol=1e-9)
    statistics = simulator.world.item_statistics[-1]
    np.testing.assert_allclose(statistics[:, 1], 1.0 - math.log(2.0), atol=0.06)  # E (u + 1) / (u + 3), over users
    assert (statistics[statistics[:, 3] > 0, 2] == 1.0).all()


def test_the_first_example_runs_and_shows_that_kale_is_better():
    ran = subprocess.run(
        [sys.executable, "examples/choc_kale.py"], capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    choc, kale = ran.stdout.splitlines()
    assert choc.startswith("always the item that looks most like choc: ")
    assert kale.startswith("always the item that looks most like kale: ")
    assert float(kale.split()[-1]) > 2.0 * float(choc.split()[-1])


def test_the_cues_that_the_first_example_reads_are_those_of_quality_and_appeal(many_chocolates):
    names = many_chocolates.simulator.world.items.feature_names
    records, features = many_chocolates.simulator.world.item_records, many_chocolates.catalog_features
    assert len(names) == 10
    assert np.corrcoef(features[:, 8], records["quality"])[0, 1] > 0.5
    assert np.corrcoef(features[:, 9], records["appeal"])[0, 1] > 0.5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("user_model", "overrides"),
    [
        (choc_kale.CHOC_AND_KALE, choc_kale.OVERRIDES),
        (interest_evolution.INTEREST_EVOLUTION, interest_evolution.OVERRIDES),
    ],
    ids=["choc_kale", "interest_evolution"],
)
def test_gymnasium_accepts_the_single_env_of_each_example(user_model, overrides):
    options = {"user_model": user_model, "overrides": overrides, "session_length": 200}
    env = gymnasium.make("recsim_env/Video-v0", render_mode="ansi", **options).unwrapped
    check_env(env, skip_render_check=True)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(200):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert 0.0 <= reward <= 5.0
        if terminated or truncated:
            break
    assert terminated
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
