"""With Numba's compiler switched off, the same lines run as plain Python and do the same."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from trajectories import record


def test_plain_python_does_what_compiled_code_does(env_id, tmp_path):
    num_threads = 2 if "Slate" in env_id else 1
    file = tmp_path / "played.npz"
    program = [sys.executable, str(Path(__file__).with_name("trajectories.py")), str(file)]
    arguments = [env_id, "7", "45", "session_length=25", f"num_threads={num_threads}"]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    plain = subprocess.run(program + arguments, capture_output=True, text=True, env=environment, check=True)
    assert plain.stderr == ""  # whole numbers that wrap are no cause for alarm
    compiled = record(env_id, 7, 45, session_length=25)
    assert compiled["terminated"].any()
    with np.load(file) as played:
        assert set(played.files) == set(compiled)
        for name, expected in compiled.items():
            if expected.dtype == np.float64:
                np.testing.assert_allclose(played[name], expected, rtol=1e-12, atol=1e-12, err_msg=name)
            elif expected.dtype == np.float32:  # a double next to a rounding boundary may fall to either side of it
                np.testing.assert_allclose(played[name], expected, rtol=0.0, atol=1e-7, err_msg=name)
            else:
                np.testing.assert_array_equal(played[name], expected, err_msg=name)
