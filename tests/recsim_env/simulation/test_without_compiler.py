"""With Numba's compiler switched off, the same code runs as plain Python with the same results."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from trajectories import file_of, record, record_elsewhere

SEED, NUM_STEPS, OPTIONS = 7, 24, {"session_length": 16, "num_threads": 2}
SMALL = {"overrides": {"catalog": {"num_items": 24}}}
"""Without the compiler it takes a minute to ask a population what it thinks of 2,000 items."""

RUNS = {
    "apart": (["EcommerceSlate", "Video", "MusicCatalog"], OPTIONS | SMALL),
    "apart too": (["SocialContent", "Ratings"], OPTIONS | SMALL),
    "live": (["SocialContent"], OPTIONS | SMALL | {"live_platform": True}),
}
"""Names of ids, and options, of each process that records without the compiler."""


def ids_of(run: str) -> list[str]:
    return [f"recsim_env/{name}-v0" for name in RUNS[run][0]]


@pytest.fixture(scope="module")
def folders_of_plain_python(tmp_path_factory):
    """Recordings without the compiler. Whole numbers that wrap in it are no cause for a warning."""
    folders = {run: tmp_path_factory.mktemp(run) for run in RUNS}

    def record_run(run: str) -> None:
        record_elsewhere(folders[run], SEED, NUM_STEPS, ids_of(run), {"NUMBA_DISABLE_JIT": "1"}, **RUNS[run][1])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(record_run, RUNS))
    return folders


@pytest.mark.parametrize(("run", "env_id"), [(run, env_id) for run in RUNS for env_id in ids_of(run)])
def test_plain_python_does_what_compiled_code_does(run, env_id, folders_of_plain_python):
    folder, (_, options) = folders_of_plain_python[run], RUNS[run]
    compiled = record(env_id, SEED, NUM_STEPS, **options)
    assert compiled["truncated"].any() or compiled["terminated"].any()
    assert compiled["info reward_click"].any()
    with np.load(file_of(folder, env_id)) as plain:
        assert set(plain.files) == set(compiled)
        for name, expected in compiled.items():
            if expected.dtype == np.float64:
                np.testing.assert_allclose(plain[name], expected, rtol=1e-12, atol=1e-12, err_msg=name)
            elif expected.dtype == np.float32:  # a double next to a rounding boundary may fall to either side of it
                np.testing.assert_allclose(plain[name], expected, rtol=0.0, atol=1e-7, err_msg=name)
            else:
                np.testing.assert_array_equal(plain[name], expected, err_msg=name)
