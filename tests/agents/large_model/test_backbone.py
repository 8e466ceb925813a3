"""The trunk: what it goes on from equals what it reads at once, and no state knows of anything later."""

import pytest
import torch
from agents.large_model.backbone import KeyValueCache, Trunk, rotated
from agents.large_model.sizes import ModelSizes
from hypothesis import given, settings
from hypothesis import strategies as st

NUM_SESSIONS, LENGTH = 3, 9
CPU = torch.device("cpu")


def small_trunk(num_key_heads: int = 2, num_layers: int = 2) -> Trunk:
    """Weights are drawn anew: what each part adds is zero at the start, and would hide what is wrong with it."""
    sizes = ModelSizes(
        width=16, num_layers=num_layers, num_heads=4, num_key_heads=num_key_heads, hidden_width=24, max_tokens=64
    )
    trunk = Trunk(sizes)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in trunk.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return trunk


def cache_of(trunk: Trunk, num_sessions: int = NUM_SESSIONS) -> KeyValueCache:
    attention = trunk.blocks[0].attention
    sizes = ModelSizes(
        width=16, num_layers=len(trunk.blocks), num_heads=4, num_key_heads=attention.num_key_heads, hidden_width=24
    )
    return KeyValueCache(sizes, num_sessions, LENGTH + 3, CPU)


def tokens_of(seed: int, num_sessions: int = NUM_SESSIONS, length: int = LENGTH) -> torch.Tensor:
    return torch.randn(num_sessions, length, 16, generator=torch.Generator().manual_seed(seed))


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


class Reading:
    """Sessions that are read piece by piece; every state is compared with that of one pass over all."""

    def __init__(self, trunk: Trunk, tokens: torch.Tensor) -> None:
        self.trunk, self.tokens, self.cache = trunk, tokens, cache_of(trunk, len(tokens))
        self.states = trunk(tokens)
        self.num_read = [0] * len(tokens)

    def read(self, num_new: list[int], which: list[int] | None) -> None:
        """The next tokens of all sessions, or of those at `which`; padded with noise to one length."""
        lanes = list(range(len(self.tokens))) if which is None else which
        left = [self.tokens.shape[1] - self.num_read[lane] for lane in lanes]
        num_new = [min(number, most) for number, most in zip(num_new, left, strict=False)]
        piece = 9.0 * torch.randn(len(lanes), max([1, *num_new]), 16)
        for row, (lane, number) in enumerate(zip(lanes, num_new, strict=True)):
            begin = self.num_read[lane]
            piece[row, :number] = self.tokens[lane, begin : begin + number]
        places = None if which is None else torch.tensor(which)
        found = self.trunk.extend(piece, torch.tensor(num_new), self.cache, places)
        for row, (lane, number) in enumerate(zip(lanes, num_new, strict=True)):
            begin = self.num_read[lane]
            assert_close(found[row, :number], self.states[lane, begin : begin + number])
            self.num_read[lane] += number
        assert self.cache.lengths.tolist() == self.num_read

    def keep(self, which: list[int]) -> None:
        index = torch.tensor(which)
        self.cache.keep(index)
        self.tokens, self.states = self.tokens[index], self.states[index]
        self.num_read = [self.num_read[lane] for lane in which]


PIECES = st.lists(
    st.tuples(
        st.lists(st.integers(0, 3), min_size=NUM_SESSIONS, max_size=NUM_SESSIONS),
        st.none() | st.lists(st.integers(0, NUM_SESSIONS - 1), min_size=1, unique=True),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("num_key_heads", [1, 2, 4])
@given(pieces=PIECES, seed=st.integers(0, 1_000))
@settings(max_examples=40, deadline=None)
def test_reading_piece_by_piece_gives_the_states_of_one_pass_over_the_whole(num_key_heads, pieces, seed):
    reading = Reading(small_trunk(num_key_heads), tokens_of(seed))
    with torch.no_grad():
        for num_new, which in pieces:
            reading.read(num_new[: len(which)] if which else num_new, which)


@given(before=PIECES, kept=st.lists(st.integers(0, NUM_SESSIONS - 1), min_size=1, unique=True), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_sessions_that_are_kept_go_on_as_if_the_others_were_still_there(before, kept, seed):
    reading = Reading(small_trunk(), tokens_of(seed))
    with torch.no_grad():
        for num_new, which in before:
            reading.read(num_new[: len(which)] if which else num_new, which)
        reading.keep(kept)
        for _ in range(3):
            reading.read([2] * len(kept), None)
        reading.read([1], [len(kept) - 1])


def test_sessions_level_with_each_other_are_read_token_by_token_as_well():
    reading = Reading(small_trunk(), tokens_of(0))
    with torch.no_grad():
        for _ in range(LENGTH):
            reading.read([1] * NUM_SESSIONS, None)


def test_a_session_that_begins_anew_sees_nothing_of_the_one_before():
    trunk, old, new = small_trunk(), tokens_of(0), tokens_of(1)
    cache = cache_of(trunk)
    with torch.no_grad():
        trunk.extend(old[:, :5], torch.full((NUM_SESSIONS,), 5), cache)
        cache.lengths[1] = 0
        found = trunk.extend(new[1:2, :4], torch.tensor([4]), cache, torch.tensor([1]))
    assert_close(found, trunk(new[1:2, :4]))


@given(place=st.integers(0, LENGTH - 1), seed=st.integers(0, 1_000))
@settings(max_examples=30, deadline=None)
def test_another_token_changes_its_own_state_and_later_ones_and_none_before(place, seed):
    trunk, tokens = small_trunk(), tokens_of(seed)
    changed = tokens.clone()
    changed[:, place] += 1.0
    with torch.no_grad():
        difference = (trunk(changed) - trunk(tokens)).abs().amax(2)
    assert (difference[:, :place] == 0.0).all()
    assert (difference[:, place:] > 1e-6).all()


def test_the_order_of_earlier_tokens_matters_and_other_sessions_do_not():
    trunk, tokens = small_trunk(num_layers=1), tokens_of(3)  # in one layer only turns can tell it
    with torch.no_grad():
        states = trunk(tokens)
        swapped = trunk(tokens[:, [1, 0, *range(2, LENGTH)]])
        alone = trunk(tokens[1:2])
    assert ((states - swapped)[:, 2:].abs().amax(2) > 1e-6).all()
    assert_close(alone, states[1:2])


@given(first=st.integers(0, 20), second=st.integers(0, 20), shift=st.integers(0, 40), seed=st.integers(0, 1_000))
@settings(max_examples=50, deadline=None)
def test_the_product_of_two_turned_vectors_depends_on_their_distance_only(first, second, shift, seed):
    turns = small_trunk().turns[None].double()
    vectors = torch.randn(2, 4, generator=torch.Generator().manual_seed(seed)).double()

    def product(place: int, other: int) -> torch.Tensor:
        turned = [
            rotated(vector[None, None, None], turns[:, at : at + 1])
            for vector, at in zip(vectors, (place, other), strict=True)
        ]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(product(first, second), product(first + shift, second + shift), atol=1e-5, rtol=1e-5)


def test_turning_by_hand_and_keeping_lengths():
    turns = small_trunk().turns[None]
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])[None, None, None]  # pairs (1, 3) and (2, 4), turned by 1 and by .01 a place
    first, second = torch.tensor(2.0), torch.tensor(0.02)
    expected = [
        first.cos() - 3.0 * first.sin(),
        2.0 * second.cos() - 4.0 * second.sin(),
        3.0 * first.cos() + first.sin(),
        4.0 * second.cos() + 2.0 * second.sin(),
    ]
    assert_close(rotated(x, turns[:, 2:3]).flatten(), torch.stack(expected))
    assert_close(rotated(x, turns[:, 9:10]).norm(), x.norm())


def test_what_each_part_adds_is_zero_at_the_start_and_still_learns():
    torch.manual_seed(0)
    trunk = Trunk(ModelSizes(width=16, num_layers=2, num_heads=2, num_key_heads=1, hidden_width=24))
    tokens = tokens_of(0)
    states = trunk(tokens)
    assert_close(states, torch.nn.functional.rms_norm(tokens, (16,)))
    (states * tokens_of(1)).sum().backward()
    assert trunk.blocks[0].attention.out.weight.grad.abs().max() > 0.0
    assert trunk.blocks[1].down.weight.grad.abs().max() > 0.0
