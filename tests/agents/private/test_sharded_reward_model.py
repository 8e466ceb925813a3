"""A sharded reward model forgets people: bit for bit, the model that never saw them, at a fraction of the cost."""

import numpy as np
import pytest
import torch
from people_logs import people_env, read_people, without, write_people

from agents.private.sharded_reward_model import ShardedRewardModel
from recsim_env import read_events

SETTINGS = {"num_shards": 4, "num_updates": 24, "people_per_step": 4, "width": 8, "seed": 3}


@pytest.fixture(scope="module")
def log_and_people(tmp_path_factory):
    return read_people(tmp_path_factory.mktemp("people") / "log")


def fitted(log, **settings):
    model = ShardedRewardModel(people_env(2), **{**SETTINGS, **settings})
    model.fit(log)
    return model


def weights(model):
    return {name: weight.clone() for name, weight in model.network.state_dict().items()}


def assert_equal_bits(one, other, prefix=""):
    for name in one:
        if name.startswith(prefix):
            assert torch.equal(one[name], other[name]), name


def test_without_a_person_the_other_shards_are_the_same_bit_for_bit(log_and_people):
    log, people = log_and_people
    person = int(people.ids[5])
    model, other = fitted(log), fitted(without(log, [person]))
    own = model.shard_of(person)
    for shard in range(4):
        pairs = zip(model.network.shards[shard].parameters(), other.network.shards[shard].parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs) == (shard != own)


@pytest.mark.parametrize("num_people", [1, 5])
def test_to_forget_people_is_to_train_without_them_from_the_start(log_and_people, num_people):
    log, people = log_and_people
    forgotten = people.ids[::7][:num_people].tolist()
    rest = without(log, forgotten)
    model = fitted(log)
    steps = []
    assert model.stale_shards(rest) == sorted({model.shard_of(person) for person in forgotten})
    model.fit(rest, update=lambda num_taken: steps.append(num_taken) or True)
    assert len(steps) == 1 + 6 * len({model.shard_of(person) for person in forgotten})
    assert_equal_bits(weights(model), weights(fitted(rest)))
    assert model.stale_shards(rest) == []


def test_training_on_the_same_log_again_changes_nothing(log_and_people):
    model = fitted(log_and_people[0])
    before, steps = weights(model), []
    model.fit(log_and_people[0], update=lambda num_taken: steps.append(num_taken) or True)
    assert steps == [0]
    assert_equal_bits(before, weights(model))


def test_a_training_that_was_stopped_is_finished_by_the_next(log_and_people):
    log, _ = log_and_people
    model = ShardedRewardModel(people_env(2), **SETTINGS)
    model.fit(log, update=lambda num_taken: num_taken < len(log) / 2)
    assert 0 < len(model.stale_shards(log)) < 4
    model.fit(log)
    assert_equal_bits(weights(model), weights(fitted(log)))


def test_scores_are_the_mean_over_the_shards_that_have_people(log_and_people):
    log, people = log_and_people
    model = fitted(log)
    empty = model.shard_of(int(people.ids[0]))
    model.fit(without(log, [person for person in people.ids.tolist() if model.shard_of(person) == empty]))
    observations = model.observed(log, np.arange(5))
    with torch.no_grad():
        each = [model.network.shards[shard](observations)[1] for shard in range(4) if shard != empty]
        torch.testing.assert_close(model.scores(observations), torch.stack(each).mean(0))


def test_shards_have_similar_sizes_and_depend_on_the_seed():
    models = [ShardedRewardModel(num_shards=10, seed=seed) for seed in (0, 1)]
    shards = np.array([[model.shard_of(person) for person in range(5_000)] for model in models])
    assert (np.abs([np.bincount(each, minlength=10) - 500 for each in shards]) < 100).all()
    assert (shards[0] == shards[1]).mean() < 0.2


def test_people_are_forgotten_in_the_log_and_in_the_model_alike(tmp_path):
    path = write_people(tmp_path / "log")
    events = read_events(path)
    people = events["user"].unique(maintain_order=True)[:2].to_list()
    model = ShardedRewardModel(**SETTINGS).learn_from_log(path)
    deletion = model.forget(path, people)
    assert deletion.num_rows == events["user"].is_in(people).sum()
    assert deletion.shards == sorted({model.shard_of(person) for person in people})
    assert (deletion.num_updates, deletion.num_updates_of_all) == (6 * len(deletion.shards), 24)
    assert not set(read_events(path)["user"]) & set(people)
    assert_equal_bits(weights(model), weights(ShardedRewardModel(**SETTINGS).learn_from_log(path)))
    assert model.forget(path, people).num_updates == 0
    with pytest.raises(ValueError, match="no one else is in the log; delete the log and the model"):
        model.forget(path, read_events(path)["user"].to_list())


def test_another_number_of_updates_is_refused_since_a_deletion_could_not_repeat_it(log_and_people):
    with pytest.raises(ValueError, match=r"^num_updates=7: must be that of the model, 24, or None$"):
        ShardedRewardModel(people_env(2), **SETTINGS).fit(log_and_people[0], 7)
