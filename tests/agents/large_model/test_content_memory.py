"""The memory of a session equals the sum that defines it, whether rows are written one by one or all at once."""

import torch

from agents.large_model.content_memory import ContentMemory

NUM_SESSIONS, NUM_ROWS, WIDTH, NUM_DIRECTIONS, NUM_CHANNELS, CANDIDATE_WIDTH = 3, 7, 8, 5, 4, 6


def scene():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    memory = ContentMemory(WIDTH, CANDIDATE_WIDTH, NUM_CHANNELS)
    torch.nn.init.normal_(memory.gate.weight)
    states = torch.randn(NUM_SESSIONS, NUM_ROWS, WIDTH, generator=generator)
    directions = torch.randn(NUM_SESSIONS, NUM_ROWS, NUM_DIRECTIONS, generator=generator)
    return memory, states, torch.nn.functional.normalize(directions, dim=2)


@torch.no_grad()
def test_a_candidate_reads_the_values_of_rows_by_the_cosine_similarity_of_their_content():
    """y(c) = out((1 + gate(s)) * sum_r decay^(rows after r) cos(c, r) v(r)), by hand for one session and candidate."""
    memory, states, directions = scene()
    memories = memory.after_each_row(states, directions)
    candidate, present = torch.nn.functional.normalize(torch.randn(NUM_DIRECTIONS), dim=0), states[1, 4]
    by_hand = torch.zeros(NUM_CHANNELS)
    for row in range(5):
        value = memory.value.weight @ states[1, row]
        for channel, decay in enumerate((1.0, 1.0, 0.95, 0.95)):
            by_hand[channel] += decay ** (4 - row) * (candidate @ directions[1, row]) * value[channel]
    by_hand *= 1.0 + memory.gate.weight @ present + memory.gate.bias
    read = memory.read(memories[1, 5][None], candidate[None, None], present[None])
    torch.testing.assert_close(read[0, 0], memory.out.weight @ by_hand, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_written_one_by_one_or_together_leave_the_same_memories():
    memory, states, directions = scene()
    expected = memory.after_each_row(states, directions)
    memories = torch.zeros_like(expected[:, 0])
    for row in range(NUM_ROWS):
        of_row = states[:, row : row + 1], directions[:, row : row + 1]
        memories = memory.after_rows(memories, *of_row, torch.ones(NUM_SESSIONS, dtype=torch.int64))
        torch.testing.assert_close(memories, expected[:, row + 1], atol=1e-5, rtol=1e-5)
    num_rows = torch.tensor([7, 4, 0])
    together = memory.after_rows(torch.zeros_like(memories), states, directions, num_rows)
    torch.testing.assert_close(together, expected[torch.arange(3), num_rows], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_thousand_rows_are_not_too_many():
    """Weights of early rows are below 1e-22 then, so that powers of the decay must not overflow."""
    memory, _, _ = scene()
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(1, 1_000, WIDTH, generator=generator)
    directions = torch.nn.functional.normalize(torch.randn(1, 1_000, NUM_DIRECTIONS, generator=generator), dim=2)
    at_once = memory.after_each_row(states, directions)[:, -1]
    one_by_one = memory.after_rows(torch.zeros_like(at_once), states, directions, torch.tensor([1_000]))
    torch.testing.assert_close(at_once, one_by_one, atol=1e-3, rtol=1e-3)
