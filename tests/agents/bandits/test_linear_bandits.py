"""Linear bandits: each visitor's posterior, LinUCB and Thompson sampling under it, a prior of people in general."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.agent import NotFittedError
from agents.bandits.empirical_bayes import EmpiricalBayesLinUCB, EmpiricalBayesThompson, fit_prior, sums_by_session
from agents.bandits.linear_posterior import LinearPrior
from agents.bandits.linucb import LinUCB
from agents.bandits.thompson import LinearThompson
from agents.rollouts.evaluation import evaluate
from agents.rollouts.feedback import counted_stars
from recsim_env.simulation.observation import CANDIDATE_COLUMNS

VIDEO, MUSIC = "recsim_env/Video-v0", "recsim_env/Music-v0"
TRAIN = {"split": "train", "catalog_seed": 0}
LEARNERS = [EmpiricalBayesLinUCB, EmpiricalBayesThompson]
WARM = {"population": {"warm_share": 1.0}}


def make(num_envs: int, env_id: str = VIDEO, **options):
    return gymnasium.make_vec(env_id, num_envs, **options)


def drawn_prior(size: int, num_profile_features: int) -> LinearPrior:
    """Some prior with nothing in it that is 0 or alike."""
    generator = np.random.default_rng(0)
    root = generator.standard_normal((size, size))
    return LinearPrior(
        mean=generator.standard_normal(size),
        covariance=root @ root.T / size + 0.1 * np.eye(size),
        noise_variance=2.5,
        slopes=generator.standard_normal((num_profile_features, size)),
        unrated_stars=3.7,
    )


def with_drawn_prior(agent, env):
    layout = env.unwrapped.simulator.layout
    agent.layout = layout
    agent.prior = drawn_prior(agent.num_features, layout.num_profile_features)
    agent.begin(env)
    return agent


def posterior_by_hand(prior: LinearPrior, profile, x, stars):
    """Mean and covariance of theta after answers [R] to items x [R, d], by the textbook's formula."""
    precision = np.linalg.inv(prior.covariance)
    covariance = np.linalg.inv(precision + x.T @ x / prior.noise_variance)
    mean = prior.mean + profile.astype(np.float64) @ prior.slopes
    return covariance @ (precision @ mean + x.T @ stars / prior.noise_variance), covariance


@pytest.mark.parametrize("slate_size", [1, 3])
def test_theta_equals_the_posterior_mean_computed_by_hand(slate_size):
    env = make(3, MUSIC, slate_size=slate_size, overrides={"population": {"warm_share": 0.0}})
    agent = with_drawn_prior(EmpiricalBayesLinUCB(alpha=0.3), env)
    layout = env.unwrapped.simulator.layout
    observations, _ = env.reset(seed=4)
    shown, is_first = [], np.ones(3, bool)
    for _ in range(4):
        before = observations
        actions = agent.act(observations, is_first)
        observations, _, terminated, truncated, _ = env.step(actions)
        is_first = terminated | truncated
        assert not is_first.any()  # patience lasts longer than four steps
        x = agent.features(before["user"], agent.candidates(before))
        shown.append(np.take_along_axis(x, actions.reshape(3, -1)[:, :, None], 1))
    agent.act(observations, is_first)
    x = np.concatenate(shown, 1)[:, ::-1]  # the last shown first, as in the history
    feedback = agent.history(observations)[:, : 4 * slate_size, layout.num_content_features :]
    stars = counted_stars(feedback, False, 3.7)
    assert len(set(stars.ravel().tolist())) > 2
    for lane in range(3):
        profile = observations["user"][lane, : layout.num_profile_features]
        theta, covariance = posterior_by_hand(agent.prior, profile, x[lane], stars[lane])
        np.testing.assert_allclose(agent.thetas()[lane], theta, rtol=1e-6)
        np.testing.assert_allclose(agent._inverse[lane], covariance, rtol=1e-6, atol=1e-9)


def test_of_a_warm_visitors_history_a_bandit_takes_content_and_stars():
    env = make(4, MUSIC, overrides=WARM)
    agent = with_drawn_prior(EmpiricalBayesLinUCB(), env)
    observations, _ = env.reset(seed=1)
    agent.act(observations, np.ones(4, bool))
    layout, history = env.unwrapped.simulator.layout, agent.history(observations)
    first = layout.num_content_features
    for lane, tenure in enumerate(env.unwrapped.simulator.sessions["tenure"]):
        rows = history[lane, :tenure]
        x = np.zeros((tenure, agent.num_features))
        x[:, :first], x[:, -1] = rows[:, :first], 1.0  # no statistics, not followed, never played, of age 0
        stars = counted_stars(rows[:, first:], False, 3.7)
        profile = observations["user"][lane, : layout.num_profile_features]
        theta, _ = posterior_by_hand(agent.prior, profile, x, stars)
        np.testing.assert_allclose(agent.thetas()[lane], theta, rtol=1e-6)


def test_linucb_is_optimistic_by_alpha_standard_deviations():
    agent = LinUCB(alpha=2.0)
    agent._inverse = np.array([[[4.0, 0.0], [0.0, 1.0]]])
    agent._targets = np.array([[0.5, 3.0]])  # theta = (2, 3)
    x = np.array([[[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]]])
    np.testing.assert_allclose(agent.scores(x), [[2.0 + 2.0 * 2.0, 3.0 + 2.0, 18.0 + 2.0 * np.sqrt(36.0 + 16.0)]])


def test_thompson_draws_from_the_posterior_shrunk_by_its_scale():
    num_sessions = 20_000
    env = make(num_sessions)
    agent = LinearThompson(scale=0.5)
    agent.begin(env, 0)
    covariance = np.array([[2.0, 0.6], [0.6, 1.0]])
    agent._inverse = np.broadcast_to(covariance, (num_sessions, 2, 2))
    agent._targets = np.broadcast_to(np.linalg.solve(covariance, [1.0, -3.0]), (num_sessions, 2))
    draws = agent.drawn_thetas()
    np.testing.assert_allclose(draws.mean(0), [1.0, -3.0], atol=0.02)
    np.testing.assert_allclose(np.cov(draws.T), 0.25 * covariance, atol=0.02)


def test_without_optimism_and_without_draws_both_bandits_are_greedy():
    env = make(16)
    returns = [evaluate(agent, env, seed=3).returns for agent in (LinUCB(alpha=0.0), LinearThompson(scale=0.0))]
    np.testing.assert_array_equal(*returns)


def test_thompson_follows_its_seed():
    env = make(16)
    first, second, other = (evaluate(LinearThompson(), env, seed=3, agent_seed=seed).items for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_sums_of_sessions_are_those_of_their_rows():
    x, stars = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 1.0]]), np.array([5.0, 2.0, 1.0])
    grams, targets, squares, counts = sums_by_session(np.array([1, 0, 1]), x, stars)
    np.testing.assert_array_equal(grams, [[[9.0, 3.0], [3.0, 1.0]], [[1.0, 2.0], [2.0, 5.0]]])
    np.testing.assert_array_equal(targets, [[6.0, 2.0], [5.0, 11.0]])
    np.testing.assert_array_equal(squares, [4.0, 26.0])
    np.testing.assert_array_equal(counts, [1.0, 2.0])


def test_fitted_prior_says_what_a_profile_tells_of_taste():
    generator = np.random.default_rng(0)
    mean, slopes = np.array([1.0, -0.5]), np.array([[2.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
    profiles = generator.standard_normal((2_000, 3))
    thetas = mean + profiles @ slopes + 0.5 * generator.standard_normal((2_000, 2))
    sessions = np.repeat(np.arange(2_000), 6)
    x = generator.standard_normal((12_000, 2))
    stars = (x * thetas[sessions]).sum(1) + 0.8 * generator.standard_normal(12_000)
    prior = fit_prior(*sums_by_session(sessions, x, stars), profiles=profiles)
    np.testing.assert_allclose(prior.mean, mean, atol=0.05)
    np.testing.assert_allclose(prior.slopes, slopes, atol=0.08)
    np.testing.assert_allclose(prior.covariance, 0.25 * np.eye(2), atol=0.04)
    assert prior.noise_variance == pytest.approx(0.64, abs=0.03)
    blind = fit_prior(*sums_by_session(sessions, x, stars))
    assert blind.slopes is None
    np.testing.assert_allclose(blind.covariance, np.diag([4.25, 1.25]), atol=0.2)


def test_statistics_count_the_more_the_more_impressions_they_rest_on():
    env = make(1)
    agent = EmpiricalBayesLinUCB(prior_impressions=20.0)
    agent.begin(env)
    first = agent.layout.num_content_features
    items = np.zeros((1, 2, first + len(CANDIDATE_COLUMNS)), np.float32)
    items[0, :, :first] = 0.25
    known = {"age": 0.5, "impressions": np.log2(81.0) / 32.0, "click_rate": 0.5, "mean_rating": 0.8, "plays": 0.25}
    for name, value in known.items():
        items[0, 0, first + CANDIDATE_COLUMNS.index(name)] = value
    x = agent.features(np.zeros((1, 1)), items)
    assert x.shape == (1, 2, agent.num_features)
    weight = 80.0 / (80.0 + 20.0)
    statistics = [weight, weight * 0.5, weight * 0.8, weight * 0.4]
    np.testing.assert_allclose(x[0, 0, first:], [*statistics, 0.0, 0.25, 0.0625, 0.5, 1.0], rtol=1e-5)
    np.testing.assert_array_equal(x[0, 1, first:], [*np.zeros(8), 1.0])  # nobody has seen it
    np.testing.assert_array_equal(x[0, :, :first], 0.25)


@pytest.fixture(scope="module")
def learnt() -> dict[type, EmpiricalBayesLinUCB]:
    agents = {}
    for make_agent in LEARNERS:
        agents[make_agent] = make_agent(num_envs=128)
        agents[make_agent].learn(MUSIC, TRAIN, 6_400, seed=0)
    return agents


def test_knowing_people_in_general_is_worth_much_in_music(learnt):
    env = make(200, MUSIC, split="test", catalog_seed=1)
    plain = evaluate(LinUCB(), env, seed=5).returns
    for agent in learnt.values():
        gain = evaluate(agent, env, seed=5).returns - plain
        assert gain.mean() > 5.0 * gain.std() / np.sqrt(200)


@pytest.mark.parametrize("make_agent", LEARNERS)
def test_a_prior_saved_and_loaded_acts_the_same(make_agent, learnt, tmp_path: Path):
    learnt[make_agent].save(tmp_path / "prior")
    other = make_agent(prior_impressions=3.0)
    other.load(tmp_path / "prior")
    env = make(16, MUSIC)
    evaluations = [evaluate(agent, env, seed=5).items for agent in (learnt[make_agent], other)]
    np.testing.assert_array_equal(*evaluations)
    wrong = next(each for each in LEARNERS if each is not make_agent)()
    with pytest.raises(ValueError, match=f"was written by '{make_agent.__name__}'"):
        wrong.load(tmp_path / "prior")


@pytest.mark.parametrize("variant", ["", "Slate"])
@pytest.mark.parametrize("make_agent", [LinUCB, LinearThompson, *LEARNERS])
def test_recommends_for_one_observation_by_the_history_in_it(make_agent, variant, learnt):
    agent = learnt.get(make_agent) or make_agent()
    env = gymnasium.make(f"recsim_env/Music{variant}-v0", overrides=WARM)
    agent.begin(env)
    changed = 0
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        action = agent.recommend(observation)
        assert env.action_space.contains(action)
        assert len(set(np.atleast_1d(action).tolist())) == np.size(action)
        forgotten = {**observation, "history": np.zeros_like(observation["history"])}
        if not isinstance(agent, LinearThompson):
            np.testing.assert_array_equal(agent.recommend(observation), action)
            changed += np.any(agent.recommend(forgotten) != action)
    assert changed > 5 or isinstance(agent, LinearThompson)


def test_learning_is_repeatable_and_what_reports_do_does_not_matter():
    elsewhere, steps = make(8), []

    def report(num_steps: int) -> None:
        steps.append(num_steps)
        evaluate(reporting, elsewhere, seed=0)

    quiet, reporting = EmpiricalBayesLinUCB(num_envs=32), EmpiricalBayesLinUCB(num_envs=32)
    quiet.learn(VIDEO, TRAIN, 1_000, seed=3)
    reporting.learn(VIDEO, TRAIN, 1_000, 3, report, 250)
    assert steps == [0, 256, 512, 768, 992]
    for name, tensor in quiet.prior.tensors().items():
        np.testing.assert_array_equal(tensor, reporting.prior.tensors()[name])


def test_what_is_consumed_but_not_rated_counts_as_the_mean_of_the_ratings():
    agent = EmpiricalBayesLinUCB(num_envs=64)
    agent.learn(VIDEO, {**TRAIN, "overrides": {"behaviour": {"rating_probability": 0.2}}}, 6_400, seed=0)
    everyone = EmpiricalBayesLinUCB(num_envs=64)
    everyone.learn(VIDEO, {**TRAIN, "overrides": {"behaviour": {"rating_probability": 1.0}}}, 6_400, seed=0)
    assert agent.prior.unrated_stars == pytest.approx(everyone.prior.unrated_stars, abs=0.2)
    assert agent.prior.unrated_stars != 3.0


def test_wrong_use_of_a_bandit_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"alpha=-1.0: must be a number in \[0.0,"):
        LinUCB(alpha=-1.0)
    with pytest.raises(ValueError, match="ridge=0: must be a number in"):
        LinearThompson(ridge=0)
    with pytest.raises(ValueError, match="scale='wide': must be a number in"):
        LinearThompson(scale="wide")
    with pytest.raises(ValueError, match="num_envs=0: must be a whole number in"):
        EmpiricalBayesThompson(num_envs=0)
    with pytest.raises(TypeError):
        LinUCB(0.5)
    for make_agent in LEARNERS:
        with pytest.raises(NotFittedError):
            make_agent().act({}, np.ones(1, bool))
        with pytest.raises(NotFittedError):
            make_agent().save(Path("nowhere"))
