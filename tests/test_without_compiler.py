"""With Numba's compiler switched off, the same lines run as plain Python and do the same."""

import numpy as np
import pytest
from conftest import ENV_IDS
from trajectories import file_of, record, record_elsewhere

SEED, NUM_STEPS, OPTIONS = 7, 40, {"session_length": 25, "num_threads": 2}


@pytest.fixture(scope="module")
def folder_of_plain_python(tmp_path_factory):
    """Recordings of all ids without the compiler. Whole numbers that wrap in it are no cause for a warning."""
    folder = tmp_path_factory.mktemp("plain_python")
    record_elsewhere(folder, SEED, NUM_STEPS, ENV_IDS, {"NUMBA_DISABLE_JIT": "1"}, **OPTIONS)
    return folder


def test_plain_python_does_what_compiled_code_does(env_id, folder_of_plain_python):
    compiled = record(env_id, SEED, NUM_STEPS, **OPTIONS)
    assert compiled["truncated"].any() or compiled["terminated"].any()
    assert compiled["info click"].any()
    with np.load(file_of(folder_of_plain_python, env_id)) as plain:
        assert set(plain.files) == set(compiled)
        for name, expected in compiled.items():
            if expected.dtype == np.float64:
                np.testing.assert_allclose(plain[name], expected, rtol=1e-12, atol=1e-12, err_msg=name)
            elif expected.dtype == np.float32:  # a double next to a rounding boundary may fall to either side of it
                np.testing.assert_allclose(plain[name], expected, rtol=0.0, atol=1e-7, err_msg=name)
            else:
                np.testing.assert_array_equal(plain[name], expected, err_msg=name)
