"""Linear bandits: the posterior of each session, LinUCB, Thompson sampling, and empirical-Bayes priors."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.agent import NotFittedError
from agents.bandits.empirical_bayes import EmpiricalBayesLinUCB, EmpiricalBayesThompson, fit_prior, sums_by_session
from agents.bandits.linear_bandits import LinearPrior, LinearThompson, LinUCB, PosteriorState
from agents.callbacks import EveryNSteps
from agents.rollouts.evaluation import evaluate
from agents.rollouts.feedback import observed_rewards
from agents.rules.random_agent import RandomAgent
from recsim_env.simulation.observation import CANDIDATE_COLUMNS

VIDEO, MUSIC = "recsim_env/Video-v0", "recsim_env/Music-v0"
TRAIN = {"split": "train", "catalog_seed": 0}
MANY_CLICKS = {
    "behaviour": {"choice_intercept": 2.0, "choice_distrust": 2.0, "initial_trust": 1.0},
    "reward": {"neutral_rating": 0.0},
}
"""So many that some thousand steps teach something."""
LEARNERS = [EmpiricalBayesLinUCB, EmpiricalBayesThompson]
WARM = {"population": {"warm_share": 1.0}}


def make(num_envs: int, env_id: str = VIDEO, **options):
    return gymnasium.make_vec(env_id, num_envs, **{"observation": "full", **options})


def drawn_prior(size: int, num_profile_features: int) -> LinearPrior:
    """A prior whose numbers are all different and not 0."""
    generator = np.random.default_rng(0)
    root = generator.standard_normal((size, size))
    return LinearPrior(
        mean=generator.standard_normal(size),
        covariance=root @ root.T / size + 0.1 * np.eye(size),
        noise_variance=2.5,
        slopes=generator.standard_normal((num_profile_features, size)),
        unrated=3.7,
    )


def with_drawn_prior(env, **settings) -> EmpiricalBayesLinUCB:
    agent = EmpiricalBayesLinUCB(env, **settings)
    agent.parameters = drawn_prior(agent.num_features, agent.layout.num_profile_features).tensors()
    return agent


def posterior_by_hand(prior: LinearPrior, profile, x, ratings):
    """Mean and covariance of theta after ratings [R] of items x [R, d], by the textbook's formula."""
    precision = np.linalg.inv(prior.covariance)
    covariance = np.linalg.inv(precision + x.T @ x / prior.noise_variance)
    mean = prior.mean + profile.astype(np.float64) @ prior.slopes
    return covariance @ (precision @ mean + x.T @ ratings / prior.noise_variance), covariance


@pytest.mark.parametrize("slate_size", [1, 3])
@pytest.mark.parametrize("explores", [False, True])
def test_the_posterior_of_what_was_shown_equals_the_one_computed_by_hand(slate_size, explores):
    """Also where another slate than the agent's was shown, as `LogWriter` does with `epsilon`."""
    env = make(3, MUSIC, slate_size=slate_size, overrides={"population": {"warm_share": 0.0}})
    agent = with_drawn_prior(env, alpha=0.3)
    layout = env.unwrapped.simulator.layout
    observations, _ = env.reset(seed=4)
    shown, state = [], None
    for _ in range(4):
        before = observations
        actions, state = agent.predict(observations, state)
        if explores:
            actions = RandomAgent(env, seed=len(shown)).predict(observations)[0]
        observations, _, terminated, truncated, _ = env.step(actions)
        assert not (terminated | truncated).any()  # patience lasts longer than four steps
        x = agent.features(before["user"], agent.candidates(before))
        shown.append(np.take_along_axis(x, actions.reshape(3, -1)[:, :, None], 1))
    agent.predict(observations, state)
    x = np.concatenate(shown, 1)[:, ::-1]  # most recent first, as in the history
    feedback = agent.history(observations)[:, : 4 * slate_size, layout.num_content_features :]
    rewards = observed_rewards(feedback, layout, 3.7)
    assert len(set(rewards.ravel().tolist())) > 2
    for lane in range(3):
        profile = observations["user"][lane, : layout.num_profile_features]
        theta, covariance = posterior_by_hand(agent.prior, profile, x[lane], rewards[lane])
        np.testing.assert_allclose(state.means[lane], theta, rtol=1e-6)
        np.testing.assert_allclose(state.inverse[lane], covariance, rtol=1e-6, atol=1e-9)


def test_the_posterior_of_a_warm_user_uses_content_and_rewards_of_the_history():
    env = make(4, MUSIC, overrides=WARM)
    agent = with_drawn_prior(env)
    observations, _ = env.reset(seed=1)
    _, state = agent.predict(observations)
    layout, history = env.unwrapped.simulator.layout, agent.history(observations)
    first = layout.num_content_features
    for lane, tenure in enumerate(env.unwrapped.simulator.sessions["tenure"]):
        rows = history[lane, :tenure]
        x = np.zeros((tenure, agent.num_features))
        x[:, :first], x[:, -1] = rows[:, :first], 1.0  # without statistics, follows and plays, of age 0
        rewards = observed_rewards(rows[:, first:], layout, 3.7)
        profile = observations["user"][lane, : layout.num_profile_features]
        theta, _ = posterior_by_hand(agent.prior, profile, x, rewards)
        np.testing.assert_allclose(state.means[lane], theta, rtol=1e-6)


def state_of(inverse, targets) -> PosteriorState:
    return PosteriorState(
        prior=LinearPrior.isotropic(2, 1.0),
        generator=np.random.default_rng(0),
        inverse=inverse,
        targets=targets,
        x=np.zeros((len(inverse), 1, 2)),
        contents=np.zeros((len(inverse), 1, 1), np.float32),
        slates=np.zeros((len(inverse), 1), np.int64),
    )


def test_linucb_is_optimistic_by_alpha_standard_deviations():
    state = state_of(np.array([[[4.0, 0.0], [0.0, 1.0]]]), np.array([[0.5, 3.0]]))  # theta = (2, 3)
    x = np.array([[[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]]])
    expected = [[2.0 + 2.0 * 2.0, 3.0 + 2.0, 18.0 + 2.0 * np.sqrt(36.0 + 16.0)]]
    np.testing.assert_allclose(LinUCB(alpha=2.0).scores(x, state), expected)


def test_thompson_samples_from_the_posterior_shrunk_by_its_scale():
    num_sessions, covariance = 20_000, np.array([[2.0, 0.6], [0.6, 1.0]])
    state = state_of(
        np.broadcast_to(covariance, (num_sessions, 2, 2)),
        np.broadcast_to(np.linalg.solve(covariance, [1.0, -3.0]), (num_sessions, 2)),
    )
    samples = LinearThompson(scale=0.5).sample(state)
    np.testing.assert_allclose(samples.mean(0), [1.0, -3.0], atol=0.02)
    np.testing.assert_allclose(np.cov(samples.T), 0.25 * covariance, atol=0.02)


def test_without_exploration_both_bandits_are_greedy():
    env = make(16)
    returns = [evaluate(agent, env, seed=3).returns for agent in (LinUCB(alpha=0.0), LinearThompson(scale=0.0))]
    np.testing.assert_array_equal(*returns)


def test_thompson_is_reproducible():
    env = make(16)
    first, second, other = (evaluate(LinearThompson(), env, seed=3, agent_seed=seed).items for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_sums_of_sessions_are_those_of_their_rows():
    x, ratings = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 1.0]]), np.array([5.0, 2.0, 1.0])
    grams, targets, squares, counts = sums_by_session(np.array([1, 0, 1]), x, ratings)
    np.testing.assert_array_equal(grams, [[[9.0, 3.0], [3.0, 1.0]], [[1.0, 2.0], [2.0, 5.0]]])
    np.testing.assert_array_equal(targets, [[6.0, 2.0], [5.0, 11.0]])
    np.testing.assert_array_equal(squares, [4.0, 26.0])
    np.testing.assert_array_equal(counts, [1.0, 2.0])


def test_a_fitted_prior_has_the_slopes_of_the_profile():
    generator = np.random.default_rng(0)
    mean, slopes = np.array([1.0, -0.5]), np.array([[2.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
    profiles = generator.standard_normal((2_000, 3))
    thetas = mean + profiles @ slopes + 0.5 * generator.standard_normal((2_000, 2))
    sessions = np.repeat(np.arange(2_000), 6)
    x = generator.standard_normal((12_000, 2))
    ratings = (x * thetas[sessions]).sum(1) + 0.8 * generator.standard_normal(12_000)
    prior = fit_prior(*sums_by_session(sessions, x, ratings), profiles=profiles)
    np.testing.assert_allclose(prior.mean, mean, atol=0.05)
    np.testing.assert_allclose(prior.slopes, slopes, atol=0.08)
    np.testing.assert_allclose(prior.covariance, 0.25 * np.eye(2), atol=0.04)
    assert prior.noise_variance == pytest.approx(0.64, abs=0.03)
    blind = fit_prior(*sums_by_session(sessions, x, ratings))
    assert blind.slopes is None
    np.testing.assert_allclose(blind.covariance, np.diag([4.25, 1.25]), atol=0.2)


def test_a_fitted_prior_is_the_one_that_users_were_drawn_from():
    generator = np.random.default_rng(0)
    mean, root = np.array([1.0, -2.0, 0.5]), np.array([[1.0, 0.0, 0.0], [0.6, 0.5, 0.0], [0.0, 0.3, 0.2]])
    contents = generator.standard_normal((3_000, 8, 3))
    thetas = mean + generator.standard_normal((3_000, 3)) @ root.T
    ratings = np.einsum("ntd,nd->nt", contents, thetas) + 0.7 * generator.standard_normal((3_000, 8))
    grams = np.einsum("ntd,nte->nde", contents, contents)
    targets = np.einsum("ntd,nt->nd", contents, ratings)
    prior = fit_prior(grams, targets, (ratings**2).sum(1), np.full(3_000, 8.0))
    np.testing.assert_allclose(prior.mean, mean, atol=0.06)
    np.testing.assert_allclose(prior.covariance, root @ root.T, atol=0.08)
    assert prior.noise_variance == pytest.approx(0.49, abs=0.02)


def test_the_weight_of_statistics_grows_with_impressions():
    env = make(1)
    agent = EmpiricalBayesLinUCB(env, prior_impressions=20.0)
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
    np.testing.assert_array_equal(x[0, 1, first:], [*np.zeros(8), 1.0])  # a new item
    np.testing.assert_array_equal(x[0, :, :first], 0.25)


@pytest.fixture(scope="module")
def trained() -> dict[type, EmpiricalBayesLinUCB]:
    return {each: each(make(128, MUSIC, overrides=MANY_CLICKS, **TRAIN)).learn(6_400) for each in LEARNERS}


def test_a_population_prior_improves_returns_in_music(trained):
    env = make(200, MUSIC, overrides=MANY_CLICKS, split="test", catalog_seed=1)
    plain = evaluate(LinUCB(), env, seed=5).returns
    for agent in trained.values():
        gain = evaluate(agent, env, seed=5).returns - plain
        assert gain.mean() > 5.0 * gain.std() / np.sqrt(200)


@pytest.mark.parametrize("agent_class", LEARNERS)
def test_a_file_of_another_bandit_is_refused(agent_class, trained, tmp_path: Path):
    trained[agent_class].save(tmp_path / "prior")
    wrong = next(each for each in LEARNERS if each is not agent_class)
    with pytest.raises(ValueError, match=f"was written by '.*{agent_class.__name__}'"):
        wrong.load(tmp_path / "prior")


@pytest.mark.parametrize("variant", ["", "Slate"])
@pytest.mark.parametrize("agent_class", [LinUCB, LinearThompson, *LEARNERS])
def test_a_single_observation_is_judged_by_its_history(agent_class, variant, trained):
    agent = trained.get(agent_class) or agent_class()
    env = gymnasium.make(f"recsim_env/Music{variant}-v0", overrides=WARM, observation="full")
    agent.set_env(env)
    num_changed = 0
    for seed in range(60):
        observation, _ = env.reset(seed=seed)
        action, _ = agent.predict(observation)
        assert env.action_space.contains(action)
        assert len(set(np.atleast_1d(action).tolist())) == np.size(action)
        cold = {**observation, "history": np.zeros_like(observation["history"])}
        if not isinstance(agent, LinearThompson):
            np.testing.assert_array_equal(agent.predict(observation)[0], action)
            num_changed += np.any(agent.predict(cold)[0] != action)
    assert num_changed > 5 or isinstance(agent, LinearThompson)


def test_training_is_reproducible_with_and_without_evaluations():
    elsewhere, steps = make(8), []

    def evaluate_elsewhere(agent) -> None:
        steps.append(agent.num_timesteps)
        evaluate(agent, elsewhere, seed=0)

    quiet, evaluated = (EmpiricalBayesLinUCB(make(32, **TRAIN), seed=3) for _ in range(2))
    quiet.learn(1_000)
    evaluated.learn(1_000, EveryNSteps(250, evaluate_elsewhere))
    assert steps == [0, 256, 512, 768, 992]
    for name, tensor in quiet.prior.tensors().items():
        np.testing.assert_array_equal(tensor, evaluated.prior.tensors()[name])


def test_a_callback_that_returns_false_ends_the_training():
    agent = EmpiricalBayesLinUCB(make(32, **TRAIN)).learn(6_400, lambda agent: agent.num_timesteps < 320)
    assert agent.num_timesteps == 320
    assert agent.prior.covariance.shape == (agent.num_features,) * 2


def test_unrated_items_count_as_the_mean_rating():
    def unrated(rating_probability: float) -> float:
        overrides = {"behaviour": {"rating_probability": rating_probability}}
        return EmpiricalBayesLinUCB(make(64, **TRAIN, overrides=overrides)).learn(6_400).prior.unrated

    assert unrated(0.2) == pytest.approx(unrated(1.0), abs=0.2)
    assert unrated(0.2) != 3.0


def test_wrong_use_of_a_bandit_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"alpha=-1.0: must be a number in \[0.0,"):
        LinUCB(alpha=-1.0)
    with pytest.raises(ValueError, match="ridge=0: must be a number in"):
        LinearThompson(ridge=0)
    with pytest.raises(ValueError, match="scale='wide': must be a number in"):
        LinearThompson(scale="wide")
    with pytest.raises(ValueError, match="max_rows=0: must be a whole number in"):
        EmpiricalBayesThompson(max_rows=0)
    with pytest.raises(TypeError):
        LinUCB(None, 0.5)
    env = make(2)
    for agent_class in LEARNERS:
        with pytest.raises(NotFittedError):
            agent_class(env).predict(env.reset(seed=0)[0])
        with pytest.raises(NotFittedError):
            agent_class(env).save(Path("nowhere"))
