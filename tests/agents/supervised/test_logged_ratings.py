"""Agents that learn from a log of random exposure: what is logged, neighbours, factors, and what the log has not."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import recsim_env  # noqa: F401
from agents.agent import NotFittedError
from agents.rollouts.evaluation import evaluate
from agents.rollouts.feedback import AnswerLog, counted_stars, last_slate, rollout
from agents.rules.popularity import PopularityAgent
from agents.rules.random_agent import RandomAgent
from agents.supervised.item_knn import ItemKNN, cosines, visitor_means
from agents.supervised.logged_ratings import known_statistics, level_design
from agents.supervised.matrix_factorization import MatrixFactorization
from recsim_env.simulation.observation import FEEDBACK

MUSIC = "recsim_env/Music-v0"
CATALOG = {"split": "test", "catalog_seed": 1}
OTHERS = {**CATALOG, "user_split": "train"}
WARM = {"population": {"warm_share": 1.0}}
LEARNERS = [ItemKNN, MatrixFactorization]


def feedback_rows(*rows: tuple[float, ...]) -> np.ndarray:
    """[len(rows), 7] of (shown, slot, click, rating, purchase)."""
    feedback = np.zeros((len(rows), len(FEEDBACK)), np.float32)
    for row, (shown, slot, click, stars, purchase) in enumerate(rows):
        values = {"shown": shown, "slot": slot / 10, "click": click, "rating": stars / 5, "purchase": purchase}
        for name, value in values.items():
            feedback[row, FEEDBACK.index(name)] = value
    return feedback


def test_stars_count_nothing_for_what_was_skipped_or_in_a_shop_not_bought():
    rows = feedback_rows((1, 0, 1, 4, 1), (1, 0, 1, 0, 1), (1, 0, 1, 0, 0), (1, 0, 0, 0, 0))
    np.testing.assert_allclose(counted_stars(rows, False), [4.0, 3.0, 3.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(counted_stars(rows, True, 3.5), [4.0, 3.5, 0.0, 0.0], rtol=1e-6)


def test_the_last_slate_is_the_latest_run_of_rising_slots_with_its_gaps():
    rows = feedback_rows((1, 2, 0, 0, 0), (1, 0, 1, 5, 0), (1, 2, 1, 1, 0), (1, 1, 0, 0, 0), (0, 0, 0, 0, 0))
    answers, is_shown = last_slate(rows[None], 3)
    np.testing.assert_array_equal(is_shown, [[True, False, True]])
    np.testing.assert_array_equal(answers[0, [0, 2]], rows[[1, 0]])
    _, is_shown = last_slate(np.zeros((1, 5, 7)), 3)
    assert not is_shown.any()
    short = feedback_rows((1, 1, 1, 2, 0), (1, 0, 0, 0, 0), (1, 0, 1, 5, 0))  # a slate of two after one of one
    answers, is_shown = last_slate(short[None], 3)
    np.testing.assert_array_equal(is_shown, [[True, True, False]])
    np.testing.assert_array_equal(answers[0, :2], short[[1, 0]])


@pytest.mark.parametrize(("slate_size", "observation"), [(1, "compact"), (4, "dict")])
def test_a_rollout_has_every_answer_of_every_session(slate_size, observation):
    env = gymnasium.make_vec("recsim_env/Video-v0", 30, observation=observation, slate_size=slate_size)
    generator, rewards, ends = np.random.default_rng(0), [], []
    step = env.step

    def noted_step(actions):
        result = step(actions)
        rewards.append(result[1])
        ends.append(result[2] | result[3])
        return result

    env.step = noted_step
    act = lambda *_: generator.permuted(np.tile(np.arange(20), (30, 1)), axis=1)[:, :slate_size]  # noqa: E731
    chosen = (lambda *_: act()[:, 0]) if slate_size == 1 else act
    exposures = list(rollout(env, chosen, 30 * 40, seed=0))
    assert len(exposures) == 40
    assert np.stack(ends).any()
    for exposure, reward in zip(exposures, rewards, strict=True):
        assert exposure.is_shown.all()
        stars = counted_stars(exposure.feedback, False, np.nan)
        is_rated = ~np.isnan(stars).any(1)
        np.testing.assert_allclose(stars[is_rated].mean(1), reward[is_rated], rtol=1e-6)
    sessions = np.stack([exposure.sessions for exposure in exposures])
    assert len(np.unique(sessions)) == sessions.max() + 1 == 30 + np.stack(ends)[:-1].sum()
    np.testing.assert_array_equal(np.diff(sessions, axis=0) > 0, np.stack(ends)[:-1])


def test_a_log_keeps_the_latest_answers_and_counts_the_unrated_as_the_mean_rating():
    env = gymnasium.make_vec("recsim_env/Video-v0", 10, observation="compact")
    log, whole = AnswerLog(has_purchases=False, max_answers=35), AnswerLog(has_purchases=False, max_answers=1_000)
    for exposure in rollout(env, lambda *_: np.zeros(10, np.int64), 100, seed=0):
        for each in (log, whole):
            each.add(exposure, items=exposure.observations["candidate_items"][:, :1])
    assert (len(log), len(whole)) == (40, 100)  # steps stay whole
    np.testing.assert_array_equal(log["items"], whole["items"][60:])
    assert np.unique(log["session"]).tolist() == list(range(log["session"].max() + 1))
    stars = whole["stars"]
    is_unrated = stars == whole.unrated_stars
    assert 0 < is_unrated.sum() < 50
    assert whole.unrated_stars == pytest.approx(stars[~is_unrated & (stars > 0)].mean())


def test_the_level_is_what_the_platform_knows_weighed_by_its_impressions():
    statistics = np.array([[np.log2(61.0) / 32.0, 0.5, 0.8], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(level_design(statistics, False), [[1.0, 0.75, 0.75 * 2.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(level_design(statistics, True), [[1.0, 0.75, 0.75 * 4.0], [1.0, 0.0, 0.0]])


def test_known_statistics_are_those_that_observations_show():
    both = [gymnasium.make_vec("recsim_env/News-v0", 20, observation=kind) for kind in ("compact", "dict")]
    compact, whole = (env.reset(seed=3)[0] for env in both)
    known = known_statistics(both[0], compact["candidate_items"], compact["time"])
    columns = whole["candidates"].reshape(20, 20, -1)[:, :, -5:-2]
    np.testing.assert_array_equal(known, columns)


def test_similarity_is_the_cosine_of_what_sessions_gave():
    sessions, items = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 0, 1, 3, 0])
    deviations = np.array([1.0, 2.0, -1.0, 1.0, 3.0, 2.0])
    found = cosines(sessions, items, deviations, 4)
    lengths = np.sqrt([6.0, 5.0, 0.0, 9.0])
    assert found[0, 1] == pytest.approx((1 * 2 - 1 * 1) / (lengths[0] * lengths[1]))
    assert found[0, 3] == pytest.approx(-3.0 / (lengths[0] * lengths[3]))
    assert (found[2] == 0.0).all()  # nobody was shown it
    np.testing.assert_allclose(found, found.T, rtol=1e-6)


def test_visitors_means_are_shrunk_as_if_five_more_answers_had_been_average():
    np.testing.assert_allclose(visitor_means(np.array([0, 1, 1]), np.array([3.0, 7.0, 7.0])), [0.5, 2.0])


def test_neighbours_stars_are_averaged_by_similarity():
    agent = ItemKNN(shrinkage=0.5)
    neighbors = np.array([[1, 2], [0, 2], [0, 1], [0, 1]])
    agent.learnt = {"neighbors": neighbors, "similarities": np.array([[0.6, 0.2], [0.6, 0.1], [0.2, 0.1], [0.0, 0.0]])}
    shown, is_used = np.array([[1, 2, 0]]), np.array([[True, True, False]])
    mean = (2.0 - 1.0) / (2 + 5)
    tastes = agent.tastes(np.array([[0, 1, 3]]), shown, np.array([[2.0, -1.0, 0.0]]), is_used)
    of_first = (0.6 * (2.0 - mean) + 0.2 * (-1.0 - mean)) / (0.5 + 0.8)
    of_second = 0.1 * (-1.0 - mean) / (0.5 + 0.1)  # its neighbour 0 stands in a row that is not in use
    np.testing.assert_allclose(tastes, [[of_first, of_second, 0.0]])


def test_only_the_nearest_neighbours_are_kept_and_no_item_is_its_own():
    generator = np.random.default_rng(0)
    sessions, items = np.repeat(np.arange(50), 6), generator.integers(12, size=300)
    deviations = generator.standard_normal(300)
    found = ItemKNN(num_neighbors=3).fit(sessions, items, deviations, 12, seed=0)
    every = cosines(sessions, items, deviations - visitor_means(sessions, deviations)[sessions], 12)
    np.fill_diagonal(every, 0.0)
    for item in range(12):
        np.testing.assert_array_equal(sorted(found["neighbors"][item]), sorted(np.argsort(-every[item])[:3]))
        assert item not in found["neighbors"][item][found["similarities"][item] > 0]
    assert (found["similarities"] >= 0.0).all()


def test_a_visitor_is_folded_in_by_ridge_regression_on_the_factors():
    agent = MatrixFactorization(num_factors=1, factor_ridge=2.0)
    agent.learnt = {"item_factors": np.array([[1.0], [2.0], [-1.0]])}
    shown, is_used = np.array([[0, 1, 2]]), np.array([[True, True, False]])
    tastes = agent.tastes(np.array([[2, 1]]), shown, np.array([[1.0, 3.0, 0.0]]), is_used)
    gram = np.array([[2.0 + 5.0, 1.0 + 2.0], [1.0 + 2.0, 1.0 + 4.0 + 2.0]])  # bias, factor; ridges 5 and 2
    factor = np.linalg.solve(gram, [1.0 + 3.0, 1.0 * 1.0 + 2.0 * 3.0])[1]
    np.testing.assert_allclose(tastes, [[-factor, 2.0 * factor]])
    nobody = agent.tastes(np.array([[2, 1]]), shown, np.zeros((1, 3)), np.zeros((1, 3), bool))
    np.testing.assert_array_equal(nobody, [[0.0, 0.0]])


def test_factors_predict_what_was_not_logged():
    generator = np.random.default_rng(0)
    people, films = generator.standard_normal((300, 2)), generator.standard_normal((40, 2))
    every = people @ films.T
    is_logged = generator.random(every.shape) < 0.5
    is_logged[:, 39] = False
    sessions, items = np.nonzero(is_logged)
    agent = MatrixFactorization(num_factors=2, factor_ridge=1.0)
    agent.learnt = agent.fit(sessions, items, every[is_logged], 40, seed=0)
    assert (agent.learnt["item_factors"][39] == 0.0).all()  # nobody was shown it
    candidates, shown = np.tile(np.arange(40), (300, 1)), np.tile(np.arange(40), (300, 1))
    tastes = agent.tastes(candidates, shown, np.where(is_logged, every, 0.0), is_logged)
    held_out = ~is_logged
    held_out[:, 39] = False
    assert np.corrcoef(tastes[held_out], every[held_out])[0, 1] > 0.95


@pytest.fixture(scope="module")
def learnt() -> dict[type, ItemKNN | MatrixFactorization]:
    agents = {make_agent: make_agent(num_envs=256) for make_agent in LEARNERS}
    for agent in agents.values():
        agent.learn(MUSIC, OTHERS, 25_600, seed=0)
    return agents


def test_other_peoples_ratings_of_the_same_catalogue_help(learnt):
    compact = gymnasium.make_vec(MUSIC, 300, observation="compact", **CATALOG)
    at_random = evaluate(RandomAgent(), gymnasium.make_vec(MUSIC, 300, **CATALOG), seed=5).returns
    for agent in learnt.values():
        gain = evaluate(agent, compact, seed=5).returns - at_random
        assert gain.mean() > 3.0 * gain.std() / np.sqrt(300)


@pytest.mark.parametrize("make_agent", LEARNERS)
def test_without_a_log_items_are_ranked_by_popularity(make_agent):
    reported = []

    def report(num_steps: int) -> None:
        env = gymnasium.make_vec(MUSIC, 50, observation="compact", overrides=WARM, **CATALOG)
        agent.begin(env)
        observations, _ = env.reset(seed=0)
        reported.append(agent.act(observations, np.ones(50, bool)))

    agent = make_agent(num_envs=16)
    agent.learn(MUSIC, OTHERS, 64, 0, report)
    env = gymnasium.make_vec(MUSIC, 50, overrides=WARM, **CATALOG)
    popularity = PopularityAgent(prior_impressions=0.0)
    popularity.begin(env)
    observations, _ = env.reset(seed=0)
    shown = popularity.act(observations, np.ones(50, bool))
    assert np.mean(reported[0] == shown) > 0.6  # its statistics have what this visitor's own history adds to them
    assert len(reported) == 2


@pytest.mark.parametrize("make_agent", LEARNERS)
def test_an_item_that_the_log_does_not_have_gets_the_level_alone(make_agent, learnt):
    agent = make_agent(num_envs=16)
    agent.learn(MUSIC, OTHERS, 320, seed=0)
    is_logged = agent.learnt["effects"] != 0.0
    assert 0 < is_logged.sum() <= 320
    missing = np.flatnonzero(~is_logged)
    shown, is_used = np.flatnonzero(is_logged)[None, :5], np.ones((1, 5), bool)
    tastes = agent.tastes(missing[None], shown, np.array([[2.0, -1.0, 1.0, 0.5, -2.0]]), is_used)
    np.testing.assert_array_equal(tastes, np.zeros((1, len(missing))))


@pytest.mark.parametrize("make_agent", LEARNERS)
def test_saved_and_loaded_they_act_the_same(make_agent, learnt, tmp_path: Path):
    learnt[make_agent].save(tmp_path / "agent")
    other = make_agent()
    other.load(tmp_path / "agent")
    env = gymnasium.make_vec(MUSIC, 16, observation="compact", **CATALOG)
    np.testing.assert_array_equal(*(evaluate(agent, env, seed=5).items for agent in (learnt[make_agent], other)))


@pytest.mark.parametrize("make_agent", LEARNERS)
def test_learning_is_repeatable_and_depends_on_the_seed(make_agent):
    agents = [make_agent(num_envs=32) for _ in range(3)]
    for agent, seed in zip(agents, (3, 3, 4), strict=True):
        agent.learn(MUSIC, OTHERS, 640, seed)
    first, second, other = (agent.learnt for agent in agents)
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])
    assert (first["effects"] != other["effects"]).any()


@pytest.mark.parametrize("variant", ["", "Slate"])
@pytest.mark.parametrize("make_agent", LEARNERS)
def test_recommends_for_one_observation_by_the_history_in_it(make_agent, variant, learnt):
    agent, changed = learnt[make_agent], 0
    env = gymnasium.make(f"recsim_env/Music{variant}-v0", observation="compact", overrides=WARM, **CATALOG)
    agent.begin(env)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        action = agent.recommend(observation)
        assert env.action_space.contains(action)
        assert len(set(np.atleast_1d(action).tolist())) == np.size(action)
        np.testing.assert_array_equal(agent.recommend(observation), action)
        forgotten = {**observation, "history_items": np.full_like(observation["history_items"], -1)}
        changed += np.any(agent.recommend(forgotten) != action)
    assert changed > 2


@pytest.mark.parametrize("make_agent", LEARNERS)
def test_another_catalogue_than_that_of_the_log_is_refused(make_agent, learnt):
    for options in ({**CATALOG, "catalog_seed": 2}, {"catalog_seed": 1, "split": "train"}):
        with pytest.raises(ValueError, match=f"another catalogue than the log that {make_agent.__name__} learnt from"):
            learnt[make_agent].begin(gymnasium.make_vec(MUSIC, 2, observation="compact", **options))
    assert make_agent.reads_evaluation_catalog


def test_in_a_shop_the_best_rated_are_popular_and_elsewhere_what_is_clicked_and_liked():
    for name, wanted in (("Ecommerce", 1), ("Video", 0)):
        env = gymnasium.make_vec(f"recsim_env/{name}-v0", 1)
        agent = PopularityAgent()
        agent.begin(env)
        observations, _ = env.reset(seed=0)
        candidates = agent.candidates(observations).copy()
        candidates[0, :, -5:-2] = [0.3, 0.1, 0.2]
        candidates[0, :2, -5:-2] = [[0.3, 0.9, 0.6], [0.3, 0.2, 0.8]]  # 2.7 and .8 stars an impression
        observations["candidates"] = candidates.reshape(1, -1)
        assert agent.act(observations, np.ones(1, bool))[0] == wanted


def test_wrong_use_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match="num_neighbors=0: must be a whole number in"):
        ItemKNN(num_neighbors=0)
    with pytest.raises(ValueError, match="num_factors=2.5: must be a whole number in"):  # noqa: RUF043
        MatrixFactorization(num_factors=2.5)
    with pytest.raises(ValueError, match="item_ridge=-1: must be a number in"):
        MatrixFactorization(item_ridge=-1)
    for make_agent in LEARNERS:
        with pytest.raises(NotFittedError):
            make_agent().act({}, np.ones(1, bool))
        with pytest.raises(NotFittedError):
            make_agent().save(tmp_path / "agent")
