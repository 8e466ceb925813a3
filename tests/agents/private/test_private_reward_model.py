"""A private reward model: the influence of a person, sampling, noise, and the budget that it states."""

import math

import numpy as np
import pytest
import torch
from people_logs import people_env, read_people, without

from agents.agent import NotFittedError
from agents.private.accountant import noise_multiplier_for
from agents.private.people import People
from agents.private.private_reward_model import PrivateRewardModel
from agents.private.reward_model import squared_errors
from agents.rules.platform_ranking import PlatformRanking
from agents.saved_tensors import load_tensors

SMALL = {"width": 8, "num_updates": 3}


@pytest.fixture(scope="module")
def log_and_people(tmp_path_factory):
    return read_people(tmp_path_factory.mktemp("people") / "log")


def untrained(**settings):
    model = PrivateRewardModel(people_env(2), **{**SMALL, **settings})
    model.init_new_network()
    return model


def weights_of(model):
    return torch.cat([weight.detach().flatten() for weight in model.network.parameters()])


def flat(gradients):
    return torch.cat([part.flatten() for part in gradients.values()])


def mean_loss(model, log, rows):
    shown = model.shown(log, rows)
    return squared_errors(model.scores(shown), shown).mean()


def own_gradient(model, log, rows):
    return torch.cat(
        [part.flatten() for part in torch.autograd.grad(mean_loss(model, log, rows), model.network.parameters())]
    )


def test_all_sessions_of_a_person_are_one_person(log_and_people):
    log, people = log_and_people
    assert len(people) == len(set(log.users.tolist()))
    assert log.is_first.sum() > 1.5 * len(people)
    np.testing.assert_array_equal(np.sort(np.concatenate(people.rows)), np.arange(len(log)))
    for person, rows in zip(people.ids, people.rows, strict=True):
        assert (log.users[rows] == person).all()


@pytest.mark.parametrize("clip_norm", [0.05, 1e9])
def test_the_sum_is_that_of_the_clipped_gradients_of_people(log_and_people, clip_norm):
    log, people = log_and_people
    model = untrained(clip_norm=clip_norm)
    expected = torch.zeros_like(weights_of(model))
    for rows in people.rows:
        gradient = own_gradient(model, log, rows)
        expected += gradient * min(1.0, clip_norm / float(gradient.norm()))
    torch.testing.assert_close(flat(model.clipped_sum(log, people.rows)), expected, rtol=1e-3, atol=1e-5)


def test_a_person_moves_a_step_by_at_most_the_clip_norm(log_and_people):
    log, people = log_and_people
    model = untrained(clip_norm=0.05)
    everyone = flat(model.clipped_sum(log, people.rows))
    for left_out in range(10):
        others = people.rows[:left_out] + people.rows[left_out + 1 :]
        influence = float((everyone - flat(model.clipped_sum(log, others))).norm())
        assert influence == pytest.approx(0.05, rel=1e-2)  # none of the gradients is smaller


def test_people_take_part_independently_with_one_probability(log_and_people, monkeypatch):
    log, people = log_and_people
    model, samples = untrained(people_per_step=10, num_updates=400, epsilon=math.inf), []

    def recorded(log, rows):
        samples.append([int(log.users[own[0]]) for own in rows])
        return {name: torch.zeros_like(weight) for name, weight in model.network.named_parameters()}

    monkeypatch.setattr(model, "clipped_sum", recorded)
    model.fit(log)
    rate, sizes = 10 / len(people), np.array([len(sample) for sample in samples])
    counts = np.array([sum(person in sample for sample in samples) for person in people.ids.tolist()])
    assert all(len(set(sample)) == len(sample) for sample in samples)
    np.testing.assert_allclose(counts / 400, rate, atol=5 * math.sqrt(rate * (1 - rate) / 400))
    assert sizes.var() == pytest.approx(len(people) * rate * (1 - rate), rel=0.35)  # binomial


def test_without_noise_and_clipping_it_is_plain_gradient_descent(log_and_people):
    log, people = log_and_people
    model, plain = (untrained(epsilon=math.inf, clip_norm=1e9, people_per_step=1_000) for _ in range(2))
    model.people_per_step = plain.people_per_step = len(people)  # everyone in each step
    model.fit(log)
    optimizer = torch.optim.Adam(plain.network.parameters(), lr=plain.learning_rate)
    for number in range(3):
        optimizer.param_groups[0]["lr"] = plain.learning_rate * (1.0 - number / 3)
        optimizer.zero_grad()
        torch.stack([mean_loss(plain, log, rows) for rows in people.rows]).mean().backward()
        optimizer.step()
    torch.testing.assert_close(weights_of(model), weights_of(plain), rtol=1e-3, atol=1e-4)


def test_the_noise_has_the_standard_deviation_that_the_budget_requires(log_and_people, monkeypatch):
    log, people = log_and_people
    model = untrained(epsilon=2.0, clip_norm=0.3, people_per_step=10, num_updates=1, width=32)
    zeros = {name: torch.zeros_like(weight) for name, weight in model.network.named_parameters()}
    monkeypatch.setattr(model, "clipped_sum", lambda log, rows: zeros)
    model.fit(log)
    noise = noise_multiplier_for(2.0, 1 / (10 * len(people)), sample_rate=10 / len(people), num_steps=1)
    drawn = torch.cat([weight.grad.flatten() for weight in model.network.parameters()]) * 10
    assert model.best_params()["noise_multiplier"] == noise
    assert float(drawn.std()) == pytest.approx(0.3 * noise, rel=0.05)


def test_two_trainings_differ_though_their_seed_is_the_same(log_and_people):
    log, _ = log_and_people
    one, other = untrained(), untrained()
    torch.testing.assert_close(weights_of(one), weights_of(other), rtol=0, atol=0)
    one.fit(log)
    other.fit(log)
    assert not torch.allclose(weights_of(one), weights_of(other))


def test_the_spent_budget_is_stated_by_the_model_and_its_file(log_and_people, tmp_path):
    log, people = log_and_people
    model = untrained(epsilon=2.0, people_per_step=10)
    model.fit(log)
    epsilon, delta = model.spent
    assert delta == 1 / (10 * len(people))
    assert 1.9 < epsilon <= 2.0
    assert model.best_params()["spent_epsilon"] == epsilon
    model.save(tmp_path / "model")
    _, kept = load_tensors(tmp_path / "model", "agents.private.private_reward_model:PrivateRewardModel")
    assert (kept["learned"]["privacy"]["epsilon"], kept["learned"]["privacy"]["delta"]) == (epsilon, delta)
    loaded = PrivateRewardModel.load(tmp_path / "model")
    assert loaded.spent == (epsilon, delta)
    loaded.fit(log)
    assert 2.0 < loaded.spent[0] < 4.0  # both trainings


def test_a_training_that_stops_early_has_spent_less(log_and_people):
    log, _ = log_and_people
    whole, stopped = (untrained(epsilon=2.0, people_per_step=10, num_updates=20) for _ in range(2))
    whole.fit(log)
    stopped.fit(log, update=lambda num_taken: num_taken < len(log) / 10)
    assert 0.0 < stopped.spent[0] < 0.8 * whole.spent[0]


def test_without_noise_the_spent_epsilon_is_infinite(log_and_people, tmp_path):
    model = untrained(epsilon=math.inf)
    model.fit(log_and_people[0])
    assert model.spent[0] == math.inf
    assert model.best_params()["spent_epsilon"] is None
    model.save(tmp_path / "model")
    assert PrivateRewardModel.load(tmp_path / "model").spent == model.spent


def test_invalid_budgets_and_logs_without_people_are_refused_in_one_line(log_and_people):
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"^PrivateRewardModel.epsilon=.*: must be a number in \[0.001, inf\]$"):
            PrivateRewardModel(epsilon=wrong)
    with pytest.raises(ValueError, match=r"^PrivateRewardModel.delta=0.6: must be a number in \[0.0, 0.5\]$"):
        PrivateRewardModel(delta=0.6)
    log, people = log_and_people
    with pytest.raises(ValueError, match=r"^log: has no people$"):
        untrained().fit(without(log, people.ids.tolist()))
    with pytest.raises(NotFittedError):
        _ = PrivateRewardModel(people_env(2)).spent
    assert len(People.of(without(log, people.ids.tolist()))) == 0


def agreement_with_the_platform(model) -> float:
    """Share of first observations in which it shows what the platform shows."""
    env = people_env(64)
    observations, _ = env.reset(seed=3)
    model.set_env(env)
    return float((model.predict(observations)[0] == PlatformRanking(env).predict(observations)[0]).mean())


def test_an_untrained_model_shows_what_the_platform_shows():
    assert agreement_with_the_platform(untrained(num_updates=0)) == 1.0


def test_with_almost_no_budget_the_platforms_ranking_is_left(log_and_people):
    log, _ = log_and_people
    found = {}
    for epsilon in (0.01, 1.0):
        model = untrained(epsilon=epsilon, num_updates=40, people_per_step=10, learning_rate=1e-2)
        model.fit(log, generator=np.random.default_rng(0))
        found[epsilon] = agreement_with_the_platform(model)
    assert found[0.01] > 0.9
    assert found[0.01] > found[1.0]
