"""Records of run-time sizes: what compiled code reads and writes is what NumPy's structured arrays hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_env.simulation.compilation import kernel
from recsim_env.simulation.record_types import as_bytes, copy_into
from recsim_env.simulation.records import ITEM, SESSION, WorldSizes, dtypes, make_layout


@kernel
def use(sessions, items, layout, out):
    sessions, items = SESSION(sessions, layout), ITEM(items, layout)
    for n in range(len(sessions)):
        session, item = sessions[n], items[n]
        session.trust = 0.5 * session.trust
        session.step += n
        session.is_over = n == 1
        session.satiation[len(session.satiation) - 1] = item.topics[0]
        session.history_feedback[len(session.history_items) - 1, 5] = -1.0
        out[n, 0] = len(session.interests) + 100.0 * len(session.candidates) + 10_000.0 * len(session.follows)
        out[n, 1] = session.interests[0] + item.factors[0] + session.candidates[0] + item.quality
    sessions[0] = sessions[len(sessions) - 1]


@given(
    sizes=st.builds(
        WorldSizes,
        num_factors=st.integers(1, 20),
        num_topics=st.integers(1, 20),
        num_creators=st.integers(1, 20),
        num_moods=st.integers(1, 5),
        num_content_features=st.integers(1, 9),
    ),
    num_candidates=st.integers(1, 50),
    history_length=st.integers(1, 30),
)
@settings(max_examples=25, deadline=None)
def test_compiled_code_reads_and_writes_the_fields_of_structured_arrays(sizes, num_candidates, history_length):
    generator = np.random.default_rng(0)
    dtype = dtypes(sizes, num_candidates, history_length)
    sessions, items = np.zeros(3, dtype[SESSION]), np.zeros(3, dtype[ITEM])
    for name in ("interests", "trust"):
        sessions[name] = generator.normal(size=sessions[name].shape)
    sessions["candidates"] = generator.integers(0, 99, sessions["candidates"].shape)
    for name in ("factors", "topics", "quality"):
        items[name] = generator.normal(size=items[name].shape)
    before, out = sessions.copy(), np.zeros((3, 2))
    use(as_bytes(sessions), as_bytes(items), make_layout(sizes, num_candidates, history_length), out)
    lengths = sizes.num_factors + 100 * num_candidates + 10_000 * sizes.num_creators
    assert out[:, 0].tolist() == [lengths] * 3
    parts = before["interests"][:, 0], items["factors"][:, 0], before["candidates"][:, 0], items["quality"]
    assert out[:, 1] == pytest.approx(sum(parts))
    assert sessions["trust"][1:] == pytest.approx(0.5 * before["trust"][1:])
    assert sessions["step"][1:].tolist() == [1, 2]
    assert sessions["is_over"][1:].tolist() == [True, False]
    assert sessions["satiation"][1:, -1].tolist() == items["topics"][1:, 0].tolist()
    assert (sessions["history_feedback"][:, -1, 5] == -1.0).all()
    assert sessions[0].tobytes() == sessions[2].tobytes()
    for name in ("world_key", "interests", "candidates", "custom"):
        np.testing.assert_array_equal(sessions[name][1:], before[name][1:])


def test_scalar_fields_have_the_same_offsets_for_all_sizes():
    small = WorldSizes(num_factors=1, num_topics=1, num_creators=1, num_moods=1, num_content_features=1)
    large = WorldSizes(num_factors=9, num_topics=8, num_creators=7, num_moods=6, num_content_features=5)
    for kind, dtype in dtypes(small).items():
        other = dtypes(large, 20, 30)[kind]
        for name in kind.head.names:
            assert dtype.fields[name][1] == other.fields[name][1] == kind.head.fields[name][1]


def test_a_vector_is_copied_into_a_part_of_another():
    @kernel
    def copy(target, source):
        copy_into(target, 2, source)

    target = np.zeros(6, np.float32)
    copy(target, np.arange(1, 4, dtype=np.float32))
    assert target.tolist() == [0, 0, 1, 2, 3, 0]
