"""Membership inference: chance for models that know nothing, certainty for those that memorise."""

import numpy as np
import pytest
from people_logs import people_env, read_people

from agents.private.membership_inference import ATTACKS, auc, auc_interval, audit, lira_scores
from agents.private.sharded_reward_model import ShardedRewardModel


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two logs, of 20 to 40 people each."""
    folder = tmp_path_factory.mktemp("people")
    population = {"overrides": {"population": {"num_users": 2_000}}, "num_envs": 20}
    return [read_people(folder / str(seed), seed=seed, num_steps=120, **population)[0] for seed in (0, 1_000)]


def test_the_auc_is_the_share_of_pairs_in_which_the_member_has_the_higher_score():
    generator = np.random.default_rng(0)
    scores, is_member = generator.integers(0, 6, 60), generator.random(60) < 0.4
    pairs = scores[is_member][:, None] - scores[~is_member]
    assert auc(scores, is_member) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    assert auc(is_member.astype(float), is_member) == 1.0
    assert auc(np.zeros(60), is_member) == 0.5


def test_the_interval_of_the_auc_covers_its_true_value_and_shrinks_with_people():
    generator = np.random.default_rng(1)
    widths = []
    for num_people in (100, 1_600):
        is_covered = []
        for _ in range(200):
            is_member = generator.random((1, num_people)) < 0.5
            scores = generator.standard_normal((1, num_people)) + is_member  # true AUC: Phi(1 / sqrt(2)) = 0.760
            value, low, high = auc_interval(scores, is_member)
            assert low <= value <= high
            is_covered.append(low <= 0.7602 <= high)
        assert 0.9 < np.mean(is_covered) < 0.99
        widths.append(high - low)
    assert widths[1] < widths[0] / 2.5


def test_lira_sees_members_whom_the_loss_alone_does_not_show():
    generator = np.random.default_rng(2)
    hardness = generator.normal(0.0, 2.0, 400)  # some people are hard to predict for any model
    is_member = np.arange(400) < 200
    shadows = np.exp(hardness + generator.normal(0.0, 0.2, (8, 400)))
    losses = np.exp(hardness + generator.normal(0.0, 0.2, 400) - 0.5 * is_member)
    scores = lira_scores(losses, shadows, np.ones((8, 400), bool))
    assert auc(scores, is_member) > 0.9 > 0.65 > auc(-losses, is_member)


def test_lira_only_reads_models_that_were_trained_without_the_person():
    losses, shadows = np.array([0.5, 0.5]), np.array([[1.0, 9.0], [2.0, 1.0], [1.5, 1.0]])
    is_out = np.array([[True, False], [True, True], [True, True]])
    changed = np.where(is_out, shadows, 1e-3)
    np.testing.assert_array_equal(lira_scores(losses, shadows, is_out), lira_scores(losses, changed, is_out))
    with pytest.raises(ValueError, match=r"^is_out: must have a shadow model without each person$"):
        lira_scores(losses, shadows, np.array([[True, False]] * 3))


def test_a_model_that_memorises_gives_its_people_away_and_an_untrained_one_does_not(logs):
    log, others = logs
    settings = {"num_shards": 1, "people_per_step": 1_000, "learning_rate": 2e-2, "width": 16}
    model = ShardedRewardModel(num_updates=150, **settings)
    model.set_env(people_env(2))
    model.fit(log)
    found = audit(model, log, others, num_shadows=2)
    assert all(found[attack].value > 0.9 for attack in ATTACKS)
    untrained = ShardedRewardModel(num_updates=0, **settings)
    untrained.set_env(people_env(2))
    untrained.fit(log)
    found = audit(untrained, log, others, num_shadows=2)
    assert all(found[attack].low < 0.5 < found[attack].high for attack in ATTACKS)


def test_an_audit_needs_other_people(logs):
    model = ShardedRewardModel(num_updates=0)
    model.set_env(people_env(2))
    model.fit(logs[0])
    with pytest.raises(
        ValueError, match=r"^others: have 0 people who are not in the log of the training, must have 4$"
    ):
        audit(model, logs[0], logs[0])
    with pytest.raises(ValueError, match=r"^is_member: must have members and others for each model$"):
        auc_interval(np.zeros((1, 3)), np.ones((1, 3)))
