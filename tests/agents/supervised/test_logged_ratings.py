"""Agents that learn from a log of random exposure: the log, neighbours, factors, and items that are not logged."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.agent import NotFittedError
from agents.callbacks import EveryNSteps
from agents.rollouts.evaluation import acting_in, evaluate
from agents.rollouts.feedback import FeedbackLog, last_slate, observed_ratings, observed_rewards, rollout
from agents.rules.popularity import PopularityAgent
from agents.rules.random_agent import RandomAgent
from agents.supervised.item_knn import ItemKNN, cosines, user_means
from agents.supervised.logged_ratings import item_statistics, level_design
from agents.supervised.matrix_factorization import MatrixFactorization
from recsim_env.config import NEVER
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK, STATISTICS

MUSIC = "recsim_env/Music-v0"
CATALOG = {"split": "test", "catalog_seed": 1}
OTHERS = {**CATALOG, "user_split": "train"}
MANY_CLICKS = {
    "behaviour": {"choice_intercept": 2.0, "choice_distrust": 2.0, "initial_trust": 1.0},
    "catalog": {"repeat_share": 0.0, "repeat_after": NEVER},
    "reward": {"neutral_rating": 0.0},
}
"""So many that some thousand steps teach something; and no repeats, which bore those who get what others like."""
WARM = {"population": {"warm_share": 1.0}}
_FIRST = CANDIDATE_COLUMNS.index(STATISTICS[0]) - len(CANDIDATE_COLUMNS)
KNOWN = slice(_FIRST, _FIRST + len(STATISTICS))
LEARNERS = [ItemKNN, MatrixFactorization]


def feedback_rows(*rows: tuple[float, ...]) -> np.ndarray:
    """[len(rows), 7] of (shown, slot, click, rating, purchase)."""
    feedback = np.zeros((len(rows), len(FEEDBACK)), np.float32)
    for row, (shown, slot, click, rating, purchase) in enumerate(rows):
        values = {"shown": shown, "slot": slot / 10, "click": click, "rating": rating / 5, "purchase": purchase}
        for name, value in values.items():
            feedback[row, FEEDBACK.index(name)] = value
    return feedback


def test_an_item_that_was_skipped_or_in_a_shop_not_bought_is_rated_0():
    rows = feedback_rows((1, 0, 1, 4, 1), (1, 0, 1, 0, 1), (1, 0, 1, 0, 0), (1, 0, 0, 0, 0))
    np.testing.assert_allclose(observed_ratings(rows, False), [4.0, 3.0, 3.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(observed_ratings(rows, True, 3.5), [4.0, 3.5, 0.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize(("name", "expected"), [("Video", [2.0, -1.0, 1.0, 0.0]), ("Ratings", [4.0, 1.0, 3.0, 0.0])])
def test_observed_rewards_are_ratings_minus_the_neutral_rating_of_the_scenario(name, expected):
    layout = gymnasium.make_vec(f"recsim_env/{name}-v0", 1).unwrapped.simulator.layout
    rows = feedback_rows((1, 0, 1, 4, 0), (1, 0, 1, 1, 0), (1, 0, 1, 0, 0), (1, 0, 0, 0, 0))
    np.testing.assert_allclose(observed_rewards(rows, layout), expected, rtol=1e-6)


def test_the_last_slate_is_the_latest_run_of_rising_slots_with_its_gaps():
    rows = feedback_rows((1, 2, 0, 0, 0), (1, 0, 1, 5, 0), (1, 2, 1, 1, 0), (1, 1, 0, 0, 0), (0, 0, 0, 0, 0))
    slate, is_shown = last_slate(rows[None], 3)
    np.testing.assert_array_equal(is_shown, [[True, False, True]])
    np.testing.assert_array_equal(slate[0, [0, 2]], rows[[1, 0]])
    _, is_shown = last_slate(np.zeros((1, 5, 7)), 3)
    assert not is_shown.any()
    short = feedback_rows((1, 1, 1, 2, 0), (1, 0, 0, 0, 0), (1, 0, 1, 5, 0))  # a slate of two after one of one
    slate, is_shown = last_slate(short[None], 3)
    np.testing.assert_array_equal(is_shown, [[True, True, False]])
    np.testing.assert_array_equal(slate[0, :2], short[[1, 0]])


@pytest.mark.parametrize(("slate_size", "observation"), [(1, "compact"), (4, "full")])
def test_a_rollout_has_the_feedback_of_every_slate(slate_size, observation):
    options = {"observation": observation, "slate_size": slate_size, "autoreset_mode": "SameStep"}
    env = gymnasium.make_vec(
        "recsim_env/Video-v0", 30, reward_scale=1.0, overrides={"reward": {"neutral_rating": 0.0}}, **options
    )
    generator, rewards, ends = np.random.default_rng(0), [], []
    step = env.step

    def recorded_step(actions):
        result = step(actions)
        rewards.append(result[1])
        ends.append(result[2] | result[3])
        return result

    env.step = recorded_step
    slates = lambda *_: generator.permuted(np.tile(np.arange(20), (30, 1)), axis=1)[:, :slate_size]  # noqa: E731
    policy = (lambda *_: slates()[:, 0]) if slate_size == 1 else slates
    exposures = list(rollout(env, policy, 30 * 40, seed=0))
    assert len(exposures) == 40
    assert np.stack(ends).any()
    for exposure, reward in zip(exposures, rewards, strict=True):
        assert exposure.is_shown.all()
        ratings = observed_ratings(exposure.feedback, False, np.nan)
        is_rated = ~np.isnan(ratings).any(1)
        np.testing.assert_allclose(ratings[is_rated].mean(1), reward[is_rated], rtol=1e-6)
    sessions = np.stack([exposure.sessions for exposure in exposures])
    assert len(np.unique(sessions)) == sessions.max() + 1 == 30 + np.stack(ends)[:-1].sum()
    np.testing.assert_array_equal(np.diff(sessions, axis=0) > 0, np.stack(ends)[:-1])


def test_a_log_keeps_the_latest_rows_and_counts_unrated_items_as_the_mean():
    env = gymnasium.make_vec("recsim_env/Video-v0", 10, observation="compact", autoreset_mode="SameStep")
    layout = env.unwrapped.simulator.layout
    log, whole = FeedbackLog(layout=layout, max_rows=35), FeedbackLog(layout=layout, max_rows=1_000)
    for exposure in rollout(env, lambda *_: np.zeros(10, np.int64), 100, seed=0):
        for each in (log, whole):
            each.add(exposure, items=exposure.observations["candidate_items"][:, :1])
    assert (len(log), len(whole)) == (40, 100)  # steps stay whole
    np.testing.assert_array_equal(log["items"], whole["items"][60:])
    assert np.unique(log["session"]).tolist() == list(range(log["session"].max() + 1))
    ratings, rewards = whole["rating"], whole["reward"]
    is_unrated = np.isnan(ratings)
    assert 0 < is_unrated.sum() < 50
    assert whole.unrated == pytest.approx(ratings[ratings > 0].mean())
    assert (rewards[is_unrated] == whole.unrated - 2.0).all()
    np.testing.assert_allclose(rewards[ratings > 0], ratings[ratings > 0] - 2.0)
    assert (rewards[ratings == 0] == 0.0).all()


def test_a_log_counts_the_sessions_of_a_further_rollout_as_new_ones():
    env = gymnasium.make_vec("recsim_env/Video-v0", 10, observation="compact", autoreset_mode="SameStep")
    log = FeedbackLog(layout=env.unwrapped.simulator.layout, max_rows=1_000)
    for _ in range(2):
        log.start_rollout()
        for exposure in rollout(env, lambda *_: np.zeros(10, np.int64), 20, seed=0):
            log.add(exposure)
    first, second = log["session"][:20], log["session"][20:]
    np.testing.assert_array_equal(second, first + first.max() + 1)


def test_the_level_weighs_statistics_by_impressions():
    statistics = np.array([[np.log2(61.0) / 32.0, 0.5, 0.8], [0.0, 0.0, 0.0]])
    for name, of_known in (("Video", 0.5 * (4.0 - 2.0)), ("Ratings", 0.5 * 4.0), ("Ecommerce", 4.0)):
        layout = gymnasium.make_vec(f"recsim_env/{name}-v0", 1).unwrapped.simulator.layout
        np.testing.assert_allclose(level_design(statistics, layout), [[1.0, 0.75, 0.75 * of_known], [1.0, 0.0, 0.0]])


def test_item_statistics_are_those_of_observations():
    both = [gymnasium.make_vec("recsim_env/News-v0", 20, observation=kind) for kind in ("compact", "full")]
    compact, whole = (env.reset(seed=3)[0] for env in both)
    statistics = item_statistics(both[0], compact["candidate_items"], compact["time"])
    columns = whole["candidates"].reshape(20, 20, -1)[:, :, KNOWN]
    np.testing.assert_array_equal(statistics, columns)


def test_similarity_is_the_cosine_of_the_ratings_of_sessions():
    sessions, items = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 0, 1, 3, 0])
    deviations = np.array([1.0, 2.0, -1.0, 1.0, 3.0, 2.0])
    similarities = cosines(sessions, items, deviations, 4)
    lengths = np.sqrt([6.0, 5.0, 0.0, 9.0])
    assert similarities[0, 1] == pytest.approx((1 * 2 - 1 * 1) / (lengths[0] * lengths[1]))
    assert similarities[0, 3] == pytest.approx(-3.0 / (lengths[0] * lengths[3]))
    assert (similarities[2] == 0.0).all()  # it was never shown
    np.testing.assert_allclose(similarities, similarities.T, rtol=1e-6)


def test_users_means_are_shrunk_by_five_average_ratings():
    np.testing.assert_allclose(user_means(np.array([0, 1, 1]), np.array([3.0, 7.0, 7.0])), [0.5, 2.0])


def test_neighbours_ratings_are_averaged_by_similarity():
    agent = ItemKNN(shrinkage=0.5)
    neighbors = np.array([[1, 2], [0, 2], [0, 1], [0, 1]])
    agent.parameters = {
        "neighbors": neighbors,
        "similarities": np.array([[0.6, 0.2], [0.6, 0.1], [0.2, 0.1], [0.0, 0.0]]),
    }
    shown, is_used = np.array([[1, 2, 0]]), np.array([[True, True, False]])
    mean = (2.0 - 1.0) / (2 + 5)
    scores = agent.user_scores(np.array([[0, 1, 3]]), shown, np.array([[2.0, -1.0, 0.0]]), is_used)
    of_first = (0.6 * (2.0 - mean) + 0.2 * (-1.0 - mean)) / (0.5 + 0.8)
    of_second = 0.1 * (-1.0 - mean) / (0.5 + 0.1)  # its neighbour 0 stands in a row that is not in use
    np.testing.assert_allclose(scores, [[of_first, of_second, 0.0]])


def test_the_nearest_neighbours_are_kept_and_no_item_is_its_own():
    generator = np.random.default_rng(0)
    sessions, items = np.repeat(np.arange(50), 6), generator.integers(12, size=300)
    deviations = generator.standard_normal(300)
    parameters = ItemKNN(num_neighbors=3).fit_users(sessions, items, deviations, 12, seed=0)
    similarities = cosines(sessions, items, deviations - user_means(sessions, deviations)[sessions], 12)
    np.fill_diagonal(similarities, 0.0)
    for item in range(12):
        np.testing.assert_array_equal(
            sorted(parameters["neighbors"][item]), sorted(np.argsort(-similarities[item])[:3])
        )
        assert item not in parameters["neighbors"][item][parameters["similarities"][item] > 0]
    assert (parameters["similarities"] >= 0.0).all()


def test_a_user_is_folded_in_by_ridge_regression_on_the_factors():
    agent = MatrixFactorization(num_factors=1, factor_ridge=2.0)
    agent.parameters = {"item_factors": np.array([[1.0], [2.0], [-1.0]])}
    shown, is_used = np.array([[0, 1, 2]]), np.array([[True, True, False]])
    scores = agent.user_scores(np.array([[2, 1]]), shown, np.array([[1.0, 3.0, 0.0]]), is_used)
    gram = np.array([[2.0 + 5.0, 1.0 + 2.0], [1.0 + 2.0, 1.0 + 4.0 + 2.0]])  # bias, factor; ridges 5 and 2
    factor = np.linalg.solve(gram, [1.0 + 3.0, 1.0 * 1.0 + 2.0 * 3.0])[1]
    np.testing.assert_allclose(scores, [[-factor, 2.0 * factor]])
    unknown = agent.user_scores(np.array([[2, 1]]), shown, np.zeros((1, 3)), np.zeros((1, 3), bool))
    np.testing.assert_array_equal(unknown, [[0.0, 0.0]])


def test_factors_predict_ratings_that_were_not_logged():
    generator = np.random.default_rng(0)
    users, films = generator.standard_normal((300, 2)), generator.standard_normal((40, 2))
    ratings = users @ films.T
    is_logged = generator.random(ratings.shape) < 0.5
    is_logged[:, 39] = False
    sessions, items = np.nonzero(is_logged)
    agent = MatrixFactorization(num_factors=2, factor_ridge=1.0)
    agent.parameters = agent.fit_users(sessions, items, ratings[is_logged], 40, seed=0)
    assert (agent.parameters["item_factors"][39] == 0.0).all()  # it was never shown
    candidates, shown = np.tile(np.arange(40), (300, 1)), np.tile(np.arange(40), (300, 1))
    scores = agent.user_scores(candidates, shown, np.where(is_logged, ratings, 0.0), is_logged)
    held_out = ~is_logged
    held_out[:, 39] = False
    assert np.corrcoef(scores[held_out], ratings[held_out])[0, 1] > 0.95


def untrained(agent_class, num_envs: int, **settings):
    env = gymnasium.make_vec(MUSIC, num_envs, observation="compact", overrides=MANY_CLICKS, **OTHERS)
    return agent_class(env, **settings)


@pytest.fixture(scope="module")
def trained() -> dict[type, ItemKNN | MatrixFactorization]:
    return {each: untrained(each, 256).learn(76_800) for each in LEARNERS}


def test_other_users_ratings_of_the_same_catalogue_help(trained):
    compact, whole = (
        gymnasium.make_vec(MUSIC, 300, observation=kind, overrides=MANY_CLICKS, **CATALOG)
        for kind in ("compact", "full")
    )
    at_random = evaluate(RandomAgent(), whole, seed=5).returns
    for agent in trained.values():
        gain = evaluate(agent, compact, seed=5).returns - at_random
        assert gain.mean() > 3.0 * gain.std() / np.sqrt(300)


@pytest.mark.parametrize("agent_class", LEARNERS)
def test_without_a_log_items_are_ranked_by_popularity(agent_class):
    actions = []
    compact, whole = (
        gymnasium.make_vec(MUSIC, 50, observation=kind, overrides=WARM, **CATALOG) for kind in ("compact", "full")
    )

    def act_elsewhere(agent) -> None:
        with acting_in(agent, compact, seed=0):
            actions.append(agent.predict(compact.reset(seed=0)[0])[0])

    untrained(agent_class, 16).learn(64, EveryNSteps(0, act_elsewhere))
    popular, _ = PopularityAgent(whole, prior_impressions=0.0).predict(whole.reset(seed=0)[0])
    assert np.mean(actions[0] == popular) > 0.6  # the session's own history is among the statistics of observations
    assert len(actions) == 2


@pytest.mark.parametrize("agent_class", LEARNERS)
def test_an_item_that_is_not_in_the_log_gets_the_level_alone(agent_class):
    agent = untrained(agent_class, 16).learn(320)
    is_logged = agent.parameters["effects"] != 0.0
    assert 0 < is_logged.sum() <= 320
    missing = np.flatnonzero(~is_logged)
    shown, is_used = np.flatnonzero(is_logged)[None, :5], np.ones((1, 5), bool)
    scores = agent.user_scores(missing[None], shown, np.array([[2.0, -1.0, 1.0, 0.5, -2.0]]), is_used)
    np.testing.assert_array_equal(scores, np.zeros((1, len(missing))))


@pytest.mark.parametrize("agent_class", LEARNERS)
def test_training_is_reproducible_and_depends_on_the_seed(agent_class):
    first, second, other = (untrained(agent_class, 32, seed=seed).learn(640).parameters for seed in (3, 3, 4))
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])
    assert (first["effects"] != other["effects"]).any()


@pytest.mark.parametrize("variant", ["", "Slate"])
@pytest.mark.parametrize("agent_class", LEARNERS)
def test_a_single_observation_is_judged_by_its_history(agent_class, variant, trained):
    agent, num_changed = trained[agent_class], 0
    env = gymnasium.make(
        f"recsim_env/Music{variant}-v0", observation="compact", overrides=MANY_CLICKS | WARM, **CATALOG
    )
    agent.set_env(env)
    for seed in range(60):
        observation, _ = env.reset(seed=seed)
        action, _ = agent.predict(observation)
        assert env.action_space.contains(action)
        assert len(set(np.atleast_1d(action).tolist())) == np.size(action)
        np.testing.assert_array_equal(agent.predict(observation)[0], action)
        cold = {**observation, "history_items": np.full_like(observation["history_items"], -1)}
        num_changed += np.any(agent.predict(cold)[0] != action)
    assert num_changed > 2


@pytest.mark.parametrize("agent_class", LEARNERS)
def test_another_catalogue_than_that_of_the_log_is_refused(agent_class, trained):
    for arguments in ({**CATALOG, "catalog_seed": 2}, {"catalog_seed": 1, "split": "train"}):
        env = gymnasium.make_vec(MUSIC, 2, observation="compact", **arguments)
        with pytest.raises(ValueError, match=f"another catalogue than the log of {agent_class.__name__}"):
            evaluate(trained[agent_class], env, seed=0)
    assert agent_class.reads_evaluation_catalog


def test_in_a_shop_popularity_is_the_mean_rating_else_per_impression():
    for name, best in (("Ecommerce", 1), ("Video", 0)):
        env = gymnasium.make_vec(f"recsim_env/{name}-v0", 1, observation="full")
        agent = PopularityAgent(env)
        observations, _ = env.reset(seed=0)
        candidates = agent.candidates(observations).copy()
        candidates[0, :, KNOWN] = [0.3, 0.1, 0.2]
        candidates[0, :2, KNOWN] = [[0.3, 0.9, 0.6], [0.3, 0.2, 0.8]]  # 2.7 and 0.8 per impression
        observations["candidates"] = candidates.reshape(1, -1)
        assert agent.predict(observations)[0] == best


def test_wrong_use_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match="num_neighbors=0: must be a whole number in"):
        ItemKNN(num_neighbors=0)
    with pytest.raises(ValueError, match="num_factors=2.5: must be a whole number in"):  # noqa: RUF043
        MatrixFactorization(num_factors=2.5)
    with pytest.raises(ValueError, match="item_ridge=-1: must be a number in"):
        MatrixFactorization(item_ridge=-1)
    env = gymnasium.make_vec(MUSIC, 2, observation="compact")
    for agent_class in LEARNERS:
        with pytest.raises(NotFittedError):
            agent_class(env).predict(env.reset(seed=0)[0])
        with pytest.raises(NotFittedError):
            agent_class(env).save(tmp_path / "agent")
