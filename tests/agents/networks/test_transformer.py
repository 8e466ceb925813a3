"""The Transformer: decoding with a cache equals one pass, and no state depends on later tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.networks.transformer import KeyValueCache, Transformer, apply_rope

NUM_SESSIONS, LENGTH = 3, 9
CPU = torch.device("cpu")


def small_transformer(num_key_heads: int = 2, num_layers: int = 2) -> Transformer:
    """Without weights that are zero, which would hide faults."""
    transformer = Transformer(
        width=16, num_layers=num_layers, num_heads=4, num_key_heads=num_key_heads, hidden_width=24, max_tokens=64
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in transformer.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return transformer


def cache_of(transformer: Transformer, num_sessions: int = NUM_SESSIONS) -> KeyValueCache:
    return transformer.make_cache(num_sessions, LENGTH + 3, CPU, torch.float32)


def tokens_of(seed: int, num_sessions: int = NUM_SESSIONS, length: int = LENGTH) -> torch.Tensor:
    return torch.randn(num_sessions, length, 16, generator=torch.Generator().manual_seed(seed))


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


class Decoding:
    """Sessions that are read piece by piece; every state is compared with that of one pass over all."""

    def __init__(self, transformer: Transformer, tokens: torch.Tensor) -> None:
        self.transformer, self.tokens, self.cache = transformer, tokens, cache_of(transformer, len(tokens))
        self.states = transformer(tokens)
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
        found = self.transformer.decode(piece, torch.tensor(num_new), self.cache, places)
        for row, (lane, number) in enumerate(zip(lanes, num_new, strict=True)):
            begin = self.num_read[lane]
            assert_close(found[row, :number], self.states[lane, begin : begin + number])
            self.num_read[lane] += number
        assert self.cache.lengths.tolist() == self.num_read

    def select(self, which: list[int]) -> None:
        index = torch.tensor(which)
        self.cache.select(index)
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
def test_decoding_in_parts_equals_one_pass(num_key_heads, pieces, seed):
    reading = Decoding(small_transformer(num_key_heads), tokens_of(seed))
    with torch.no_grad():
        for num_new, which in pieces:
            reading.read(num_new[: len(which)] if which else num_new, which)


@given(before=PIECES, kept=st.lists(st.integers(0, NUM_SESSIONS - 1), min_size=1, unique=True), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_selected_sessions_continue_unchanged(before, kept, seed):
    reading = Decoding(small_transformer(), tokens_of(seed))
    with torch.no_grad():
        for num_new, which in before:
            reading.read(num_new[: len(which)] if which else num_new, which)
        reading.select(kept)
        for _ in range(3):
            reading.read([2] * len(kept), None)
        reading.read([1], [len(kept) - 1])


def test_aligned_sessions_are_decoded_token_by_token():
    reading = Decoding(small_transformer(), tokens_of(0))
    with torch.no_grad():
        for _ in range(LENGTH):
            reading.read([1] * NUM_SESSIONS, None)


def test_a_restarted_session_does_not_attend_to_the_old_one():
    transformer, old, new = small_transformer(), tokens_of(0), tokens_of(1)
    cache = cache_of(transformer)
    with torch.no_grad():
        transformer.decode(old[:, :5], torch.full((NUM_SESSIONS,), 5), cache)
        cache.lengths[1] = 0
        found = transformer.decode(new[1:2, :4], torch.tensor([4]), cache, torch.tensor([1]))
    assert_close(found, transformer(new[1:2, :4]))


@given(place=st.integers(0, LENGTH - 1), seed=st.integers(0, 1_000))
@settings(max_examples=30, deadline=None)
def test_a_token_changes_its_own_and_later_states_only(place, seed):
    transformer, tokens = small_transformer(), tokens_of(seed)
    changed = tokens.clone()
    changed[:, place] += 1.0
    with torch.no_grad():
        difference = (transformer(changed) - transformer(tokens)).abs().amax(2)
    assert (difference[:, :place] == 0.0).all()
    assert (difference[:, place:] > 1e-6).all()


def test_the_order_of_tokens_matters_and_other_sessions_do_not():
    transformer, tokens = small_transformer(num_layers=1), tokens_of(3)  # in one layer only rope can tell it
    with torch.no_grad():
        states = transformer(tokens)
        swapped = transformer(tokens[:, [1, 0, *range(2, LENGTH)]])
        alone = transformer(tokens[1:2])
    assert ((states - swapped)[:, 2:].abs().amax(2) > 1e-6).all()
    assert_close(alone, states[1:2])


@given(first=st.integers(0, 20), second=st.integers(0, 20), shift=st.integers(0, 40), seed=st.integers(0, 1_000))
@settings(max_examples=50, deadline=None)
def test_rotated_products_depend_on_the_distance_only(first, second, shift, seed):
    rope = small_transformer().rope[None].double()
    vectors = torch.randn(2, 4, generator=torch.Generator().manual_seed(seed)).double()

    def product(place: int, other: int) -> torch.Tensor:
        turned = [
            apply_rope(vector[None, None, None], rope[:, at : at + 1])
            for vector, at in zip(vectors, (place, other), strict=True)
        ]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(product(first, second), product(first + shift, second + shift), atol=1e-5, rtol=1e-5)


def test_rotation_by_hand():
    rope = small_transformer().rope[None]
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])[None, None, None]  # pairs (1, 3) and (2, 4), turned by 1 and by .01 a place
    first, second = torch.tensor(2.0), torch.tensor(0.02)
    expected = [
        first.cos() - 3.0 * first.sin(),
        2.0 * second.cos() - 4.0 * second.sin(),
        3.0 * first.cos() + first.sin(),
        4.0 * second.cos() + 2.0 * second.sin(),
    ]
    assert_close(apply_rope(x, rope[:, 2:3]).flatten(), torch.stack(expected))
    assert_close(apply_rope(x, rope[:, 9:10]).norm(), x.norm())


def test_output_projections_start_at_zero_and_are_trained():
    torch.manual_seed(0)
    transformer = Transformer(width=16, num_layers=2, num_heads=2, num_key_heads=1, hidden_width=24, max_tokens=64)
    tokens = tokens_of(0)
    states = transformer(tokens)
    assert_close(states, torch.nn.functional.rms_norm(tokens, (16,)))
    (states * tokens_of(1)).sum().backward()
    assert transformer.blocks[0].attention.out.weight.grad.abs().max() > 0.0
    assert transformer.blocks[1].down.weight.grad.abs().max() > 0.0
