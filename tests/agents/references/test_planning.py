"""References with privileged knowledge: more knowledge and more planning give higher returns."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from trajectories import same

import recsim_env  # noqa: F401
from agents.agent import NotFittedError
from agents.references.lookahead import HistoryBlindPolicy, LookaheadOracle
from agents.references.myopic_oracle import MyopicOracle
from agents.references.pattern_search import pattern_search
from agents.references.planning_oracle import CONDITIONS, PlanningOracle, StateValue, TemporalDifferences
from agents.references.value_weights import VALUE_WEIGHTS, ValueWeights
from agents.rollouts.evaluation import evaluate
from recsim_env.scenarios import VIDEO, scenario_named
from recsim_env.world.world import build_world


def make(num_envs: int, **arguments):
    return gymnasium.make_vec("recsim_env/Video-v0", num_envs, **{"observation": "full", **arguments})


def history_blind(env, **settings) -> HistoryBlindPolicy:
    agent = HistoryBlindPolicy(env, **settings)
    agent.population = build_world(VIDEO, 0, "train")
    return agent


def test_without_value_weights_the_lookahead_oracle_is_myopic():
    returns = [
        evaluate(agent, make(64, observation=agent.observation), seed=0).returns
        for agent in (MyopicOracle(), LookaheadOracle())
    ]
    np.testing.assert_array_equal(*returns)


def same_candidates_for_all(env, num_envs: int) -> dict[str, np.ndarray]:
    observations, _ = env.reset(seed=0, options={"candidate_seed": 4})
    first = {name: np.repeat(observations[name][:1], num_envs, axis=0) for name in ("candidate_items", "time")}
    return {**observations, **first}


def test_the_history_blind_policy_ranks_alike_for_all_users():
    env = make(32, observation="compact")
    agent = history_blind(env, value_weights=ValueWeights(trust=1.0, patience=1.0))
    actions, _ = agent.predict(same_candidates_for_all(env, 32))
    assert len(set(actions.tolist())) == 1


def test_the_history_blind_policy_samples_by_its_temperature():
    env = make(4_000, observation="compact")
    observations, shares = same_candidates_for_all(env, 4_000), []
    for temperature in (0.0, 0.5):
        agent = history_blind(env, temperature=temperature)
        actions, state = agent.predict(observations)
        shares.append(np.bincount(actions, minlength=20) / 4_000)
    assert shares[0].max() == 1.0
    assert 0.1 < shares[1].max() < 0.95
    assert shares[1][shares[0].argmax()] > 1.5 / 20
    probabilities = np.exp(agent.log_probabilities(observations, np.arange(4_000) % 20, state))[:20]
    assert probabilities.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(shares[1], probabilities, atol=5 * np.sqrt(0.25 / 4_000))


def test_tuned_value_weights_are_the_best_of_those_tried():
    env = make(64, observation="compact", session_length=20, split="train")
    agent = LookaheadOracle(env, weight_candidates=(0.0, 4.0), num_tuning_sessions=64).learn(0)
    assert agent.num_timesteps == 0
    returns = {}
    for trust in (0.0, 4.0):
        for patience in (0.0, 4.0):
            oracle = LookaheadOracle(value_weights=ValueWeights(trust=trust, patience=patience))
            returns[trust, patience] = evaluate(oracle, env, seed=0).returns.mean()
    found = returns[agent.value_weights.trust, agent.value_weights.patience]
    assert found >= max(returns[0.0, 0.0], returns[4.0, 0.0], returns[0.0, 4.0])
    assert agent.best_params()["trust_weight"] == agent.value_weights.trust


EVERYWHERE = ("trust", "patience", "click", "consumption", "satiation", "interests")


@pytest.mark.parametrize(
    ("name", "relevant"),
    [
        ("Video", {*EVERYWHERE}),
        ("Ecommerce", {*EVERYWHERE, "budget"}),
        ("Social", {*EVERYWHERE, "following"}),
    ],
)
def test_value_weights_matter_where_a_scenario_has_the_consequence(name, relevant):
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 200, observation="compact")
    assert set(ValueWeights.relevant_in(scenario_named(name))) == relevant
    observations, _ = env.reset(seed=0)
    for _ in range(10):  # until some users follow a creator, or have lost trust
        observations, *_ = env.step(np.arange(200) % 20)
    plain, _ = LookaheadOracle(env).predict(observations)
    for field in dataclasses.fields(ValueWeights):
        weighted, _ = LookaheadOracle(env, value_weights=ValueWeights(**{field.name: 4.0})).predict(observations)
        assert (plain != weighted).any() == (field.name in relevant), field.name


SMALL = {"num_value_steps": 30_000, "num_tuning_sessions": 100, "num_search_rounds": 1, "num_search_sessions": 100}


def trained(env, **settings) -> PlanningOracle:
    return PlanningOracle(env, weight_candidates=(0.0, 2.0), **{**SMALL, **settings}).learn(0)


def test_planning_beats_the_myopic_policy():
    train, compact = (make(300, session_length=25, split=split, observation="compact") for split in ("train", "test"))
    planned = evaluate(trained(train), compact, seed=2).returns
    gain = planned - evaluate(MyopicOracle(), make(300, session_length=25, split="test"), seed=2).returns
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(300)


def test_pattern_search_finds_a_maximum_in_noise_and_leaves_coordinates_without_a_step():
    noise = np.random.default_rng(0).normal(size=(3, 500))

    def returns_at(point):  # the maximum is at (12/7, -4/7), whatever the third coordinate is
        x, y, _ = point
        return 10.0 - (x - 2.0) ** 2 - 2.0 * (y + 1.0) ** 2 + x * y + noise[0] + 0.2 * x * noise[1] + 0.2 * y * noise[2]

    start = np.array([0.0, 0.0, 7.0])
    found = pattern_search(returns_at, start, np.array([1.0, 1.0, 0.0]), num_rounds=30)
    np.testing.assert_allclose(found, [12 / 7, -4 / 7, 7.0], atol=0.1)
    assert pattern_search(returns_at, start, np.ones(3), num_rounds=0).tolist() == start.tolist()


@pytest.mark.parametrize("name", ["Video", "VideoLifetime"])
def test_value_weights_follow_the_state_of_each_session(name):
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 50, observation="compact")
    planner = PlanningOracle(env, value_weights=ValueWeights(trust=2.0))
    trust, remaining, click = (
        VALUE_WEIGHTS.index("trust"),
        CONDITIONS.index("remaining time"),
        VALUE_WEIGHTS.index("click"),
    )
    planner._plan[remaining, click], planner._plan[CONDITIONS.index("trust"), trust] = 4.0, -1.0
    env.reset(seed=0)
    simulator = env.unwrapped.simulator
    assert planner.session_value_weights()[:, click] == pytest.approx(2.0)  # at the start
    for _ in range(12):
        env.step(np.arange(50) % 20)
    weights, expected = planner.session_value_weights(), np.zeros((50, len(VALUE_WEIGHTS)))
    expected[:, trust] = 2.0 - (simulator.sessions["trust"] - 0.5)
    elapsed = simulator.sessions["step"] / 50
    if name == "VideoLifetime":
        steps = simulator.sessions["start_step"] + simulator.sessions["step"] - simulator.sessions["first_time"]
        elapsed = steps / (30 * 20)
    expected[:, click] = 4.0 * (0.5 - elapsed)
    np.testing.assert_allclose(weights, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["Video", "Ecommerce", "Social", "Music"])
def test_without_a_future_the_value_of_an_action_is_its_expected_reward(name):
    env = gymnasium.make_vec(f"recsim_env/{name}-v0", 30, observation="compact")
    planner = PlanningOracle(env)
    env.reset(seed=0)
    planner._value = StateValue.of_states(planner._states_of(env.unwrapped.simulator))  # values of 0
    for _ in range(5):
        env.step(np.arange(30) % 20)
        expected = env.unwrapped.latent_state()["expected_rewards"]
        np.testing.assert_allclose(planner.action_values(), expected, atol=0.01)


def test_the_value_function_predicts_returns():
    env = make(50, session_length=25, split="train", observation="compact")
    planner = trained(env, exploration=0.0, num_search_rounds=0)
    value, planner._value = planner._value, None  # its first policy, to which the value function was fitted
    steps = []
    planner._play(planner._make_env(400), np.random.default_rng(0), lambda *step: steps.append(step))
    rewards, states, goes_on = (np.stack(parts) for parts in zip(*steps, strict=True))
    returns = np.cumsum(rewards[::-1], 0)[::-1] - rewards  # after each step
    values = value.values(states[goes_on])
    assert np.corrcoef(values, returns[goes_on])[0, 1] > 0.7
    assert values.mean() == pytest.approx(returns[goes_on].mean(), rel=0.1)


@pytest.mark.parametrize("trace_decay", [0.0, 0.5, 1.0])
def test_least_squares_temporal_differences_find_the_returns_of_a_chain_of_three_steps(trace_decay):
    states = np.zeros((3, 2, 14))
    states[:, :, 11] = np.array([2.0, 1.0, 0.0])[:, None] / 3.0  # the remaining time
    states[:, 1, 0] = 1.0  # the second session has twice the rewards
    rewards, goes_on = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]), np.array([True, True, False])
    differences = TemporalDifferences(StateValue.of_states(states.reshape(-1, 14)), trace_decay)
    for t in range(3):
        differences.add(rewards[t], states[t], np.repeat(goes_on[t], 2))
    values = differences.solution().values(states[:2].reshape(-1, 14))
    np.testing.assert_allclose(values, [5.0, 10.0, 3.0, 6.0], rtol=1e-4)


def test_a_saved_plan_acts_as_before(tmp_path):
    env = make(20, session_length=25, split="train", observation="compact")
    planner = trained(env)
    planner.save(tmp_path / "planner.agent")
    restored = PlanningOracle.load(tmp_path / "planner.agent", env)
    observations, _ = env.reset(seed=1)
    assert (planner.predict(observations)[0] == restored.predict(observations)[0]).all()


def test_planning_leaves_the_real_sessions_unchanged():
    env = make(6, observation="compact")
    planner = trained(env)
    observations, _ = env.reset(seed=0)
    before = env.unwrapped.simulator.state()
    planner.predict(observations)
    assert same(before, env.unwrapped.simulator.state())


def test_references_refuse_slates_and_too_few_steps_and_need_a_population():
    with pytest.raises(ValueError, match="num_value_steps=0: must be a whole number in"):
        PlanningOracle(num_value_steps=0)
    with pytest.raises(ValueError, match="slate_size=3: PlanningOracle shows one item a step"):
        PlanningOracle(make(2, slate_size=3, observation="compact"))
    env = make(2, observation="compact")
    with pytest.raises(NotFittedError):
        HistoryBlindPolicy(env).predict(env.reset(seed=0)[0])


def test_a_reference_of_an_env_made_with_objects_cannot_be_saved(tmp_path):
    env = make(2, scenario=VIDEO, observation="compact")
    agent = LookaheadOracle(env, weight_candidates=(0.0,), num_tuning_sessions=2).learn(0)
    with pytest.raises(ValueError, match="cannot be saved, its env was made with an object"):
        agent.save(tmp_path / "agent")
