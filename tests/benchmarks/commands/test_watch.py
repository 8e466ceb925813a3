"""`watch`: one session in text, and errors in one line."""

import pytest

from benchmarks.__main__ import main


def test_a_session_is_printed_with_its_return(capsys):
    assert main(["watch", "--agent", "popularity", "--steps", "3"]) == 0
    assert "popularity in recsim_env/Video-v0: return " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "CartPole-v1"], "--env CartPole-v1: must be an env of recsim_env, such as recsim_env/Video-v0"),
        (["--env", "recsim_env/Vidoe-v0"], "Did you mean: `Video`?"),
        (["--agent", "pq"], "agent 'pq': unknown; did you mean 'pqn'?"),
        (["--agent", "pqn"], "agent 'pqn': is not trained; give --load FILE or --train-steps N"),
        (["--env", "recsim_env/MovieLens-v0", "--world", "nowhere.npz"], "nowhere.npz"),
        (["--world", "world.npz"], "Video does not use a ratings log; omit it"),
        (["--load", "nowhere.zip"], "--load nowhere.zip: no such file"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, message, capsys):
    assert main(["watch", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
