"""Recorded sessions as tensors: returns by hand, and selections that keep rows together."""

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.large_model.losses import session_returns
from agents.large_model.rollout import Sessions, Steps

NUM_SLOTS, NUM_CANDIDATES, NUM_BEFORE = 2, 4, 3


def numbered_sessions(lengths: list[int], num_steps: int | None = None, has_teacher: bool = False) -> Sessions:
    """Sessions in which each number tells the session and the step, or the row, that it is of."""
    num_sessions, num_steps = len(lengths), num_steps or max(lengths)
    code = 100.0 * torch.arange(num_sessions)[:, None] + torch.arange(num_steps)  # [B, T]
    most_rows = NUM_BEFORE + num_steps * NUM_SLOTS
    rows = 1_000 * torch.arange(num_sessions)[:, None] + torch.arange(most_rows)  # [B, R]
    num_rows = NUM_BEFORE + NUM_SLOTS * torch.arange(num_steps).expand(num_sessions, -1)
    ends = torch.tensor(lengths)[:, None] * NUM_SLOTS + NUM_BEFORE
    is_row = torch.arange(most_rows) < ends

    def coded(*sizes: int) -> torch.Tensor:
        return code.reshape(num_sessions, num_steps, *[1] * len(sizes)).expand(-1, -1, *sizes).clone()

    return Sessions(
        users=coded(5),
        row_items=rows.where(is_row, -1),
        row_feedback=rows[:, :, None].expand(-1, -1, 13).float(),
        num_rows=num_rows.clone(),
        candidates=coded(NUM_CANDIDATES).long(),
        dynamics=coded(NUM_CANDIDATES, 6),
        slates=coded(NUM_SLOTS).long(),
        log_probabilities=coded(NUM_SLOTS),
        values=coded(),
        rewards=coded(),
        clicked=coded(NUM_SLOTS) % 2 == 0,
        lengths=torch.tensor(lengths),
        teacher=coded(NUM_CANDIDATES, 3) if has_teacher else None,
        teacher_values=coded() if has_teacher else None,
    )


def returns_of(rewards: list[float], values: list[float], **numbers: float) -> list[float]:
    is_step = torch.ones(1, len(rewards), dtype=torch.bool)
    return session_returns(torch.tensor([rewards]), torch.tensor([values]), is_step, **numbers)[0].tolist()


def test_lambda_returns_equal_those_computed_by_hand():
    found = returns_of([1.0, 2.0, 4.0], [10.0, 20.0, 40.0], gamma=0.5, gae_lambda=0.25)
    last = 4.0
    middle = 2 + 0.5 * (0.75 * 40 + 0.25 * last)
    assert found == pytest.approx([1 + 0.5 * (0.75 * 20 + 0.25 * middle), middle, last])


REWARDS = st.lists(st.tuples(st.floats(-5.0, 5.0), st.floats(-50.0, 50.0)), min_size=1, max_size=8)


@given(steps=REWARDS, gamma=st.floats(0.0, 1.0), gae_lambda=st.sampled_from([0.0, 1.0]))
@settings(max_examples=100, deadline=None)
def test_lambda_zero_bootstraps_and_one_sums_all_rewards(steps, gamma, gae_lambda):
    rewards, values = (list(each) for each in zip(*steps, strict=True))
    found = returns_of(rewards, values, gamma=gamma, gae_lambda=gae_lambda)
    for step in range(len(steps)):
        at_once = rewards[step] + gamma * (values[step + 1] if step + 1 < len(steps) else 0.0)
        in_the_end = sum(gamma**n * reward for n, reward in enumerate(rewards[step:]))
        assert found[step] == pytest.approx(in_the_end if gae_lambda else at_once, abs=1e-3)


@given(steps=REWARDS, gae_lambda=st.floats(0.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_with_gamma_zero_a_return_is_its_reward(steps, gae_lambda):
    rewards, values = (list(each) for each in zip(*steps, strict=True))
    assert returns_of(rewards, values, gamma=0.0, gae_lambda=gae_lambda) == pytest.approx(rewards)


@given(steps=REWARDS, gamma=st.floats(0.0, 1.0), gae_lambda=st.floats(0.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_the_advantage_is_the_sum_of_discounted_errors_of_one_step(steps, gamma, gae_lambda):
    rewards, values = (list(each) for each in zip(*steps, strict=True))
    found = returns_of(rewards, values, gamma=gamma, gae_lambda=gae_lambda)
    following = [*values[1:], 0.0]
    errors = [r + gamma * v - own for r, v, own in zip(rewards, following, values, strict=True)]
    for step in range(len(steps)):
        generalised = sum((gamma * gae_lambda) ** n * error for n, error in enumerate(errors[step:]))
        assert found[step] - values[step] == pytest.approx(generalised, abs=1e-3)


@given(length=st.integers(1, 5), gamma=st.floats(0.0, 1.0), gae_lambda=st.floats(0.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_padding_after_a_session_has_no_effect(length, gamma, gae_lambda):
    generator = torch.Generator().manual_seed(length)
    rewards, values = torch.randn(2, 1, 6, generator=generator)
    is_step = (torch.arange(6) < length)[None]
    found = session_returns(rewards, values, is_step, gamma=gamma, gae_lambda=gae_lambda)
    alone = session_returns(
        rewards[:, :length], values[:, :length], is_step[:, :length], gamma=gamma, gae_lambda=gae_lambda
    )
    torch.testing.assert_close(found[:, :length], alone)
    assert (found[:, length:] == 0.0).all()
    assert found[0, length - 1] == rewards[0, length - 1]


LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@given(lengths=LENGTHS, has_teacher=st.booleans())
@settings(max_examples=50, deadline=None)
def test_steps_are_those_that_took_place_session_by_session(lengths, has_teacher):
    sessions = numbered_sessions(lengths, num_steps=6, has_teacher=has_teacher)
    steps = sessions.steps
    expected = [(session, step) for session, length in enumerate(lengths) for step in range(length)]
    codes = torch.tensor([100 * session + step for session, step in expected])
    assert sessions.num_steps == len(expected)
    assert steps.sessions.tolist() == [session for session, _ in expected]
    assert steps.num_rows.tolist() == [NUM_BEFORE + NUM_SLOTS * step for _, step in expected]
    names = {"users", "candidates", "dynamics", "slates", "log_probabilities", "values", "rewards"}
    for name in names | ({"teacher", "teacher_values"} if has_teacher else set()):
        found = getattr(steps, name)
        torch.testing.assert_close(found.flatten(1) if found.ndim > 1 else found[:, None], _spread(codes, found))
    assert (steps.clicked == (codes % 2 == 0)[:, None]).all()
    assert (steps.teacher is None) != has_teacher
    assert names | {"sessions", "num_rows", "clicked", "teacher", "teacher_values"} == {
        each.name for each in fields(Steps)
    }


def _spread(codes: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return codes[:, None].to(like.dtype).expand(-1, max(like[0].numel(), 1))


@given(lengths=LENGTHS, data=st.data())
@settings(max_examples=50, deadline=None)
def test_selected_sessions_are_unchanged_and_without_needless_padding(lengths, data):
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, unique=True))
    sessions = numbered_sessions(lengths, num_steps=6, has_teacher=True)
    part, index = sessions.select(torch.tensor(chosen)), torch.tensor(chosen)
    longest = max(lengths[each] for each in chosen)
    assert part.lengths.tolist() == [lengths[each] for each in chosen]
    assert part.rewards.shape[1] == longest
    assert part.row_items.shape[1] == NUM_BEFORE + NUM_SLOTS * longest
    for each in fields(Sessions):
        if each.name != "lengths":
            whole, cut = getattr(sessions, each.name), getattr(part, each.name)
            assert (cut == whole[index, : cut.shape[1]]).all()
    torch.testing.assert_close(part.returns, sessions.returns[index])
    assert part.num_tokens == len(chosen) + sum(NUM_BEFORE + NUM_SLOTS * lengths[each] for each in chosen)
    whole_steps, part_steps = sessions.steps, part.steps
    for place, session in enumerate(chosen):
        before, after = whole_steps.sessions == session, part_steps.sessions == place
        assert (whole_steps.users[before] == part_steps.users[after]).all()


def test_returns_sum_the_rewards_of_the_steps():
    sessions = replace(numbered_sessions([2, 3], num_steps=5), rewards=torch.ones(2, 5))
    assert sessions.returns.tolist() == [2.0, 3.0]
    assert sessions.is_step.tolist() == [[True, True, False, False, False], [True, True, True, False, False]]
    assert len(sessions) == 2
