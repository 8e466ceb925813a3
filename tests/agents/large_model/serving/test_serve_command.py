"""`serve` starts where it may and can, and says in one line why it does not."""

import socket
import subprocess
import sys

import pytest
from conftest import CHECKOUT

from agents.large_model.__main__ import main


@pytest.fixture
def refused(tmp_path, capsys):
    def command(*arguments: str) -> str:
        """What the command says, which leaves no file."""
        assert main(["serve", "--database", str(tmp_path / "served.sqlite"), *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert not list(tmp_path.iterdir())
        return error

    return command


def test_a_server_does_not_start_beyond_this_machine_without_a_token(refused, monkeypatch):
    monkeypatch.delenv("RECSIM_TOKEN", raising=False)
    assert "RECSIM_TOKEN" in refused("--host", "0.0.0.0")


def test_a_port_that_is_taken_is_refused(refused):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert f"127.0.0.1, port {port}" in refused("--port", port)


def test_a_model_that_does_not_exist_is_refused(refused):
    assert "nowhere: " in refused("--port", "0", "--model", "nowhere")


def test_a_model_that_is_not_exported_is_refused_without_torch(tmp_path):
    program = "import sys; sys.modules['torch'] = None; from agents.large_model.__main__ import main; "
    program += "sys.exit(main(['serve', '--port', '0', '--database', sys.argv[1]]))"
    command = [sys.executable, "-c", program, str(tmp_path / "served.sqlite")]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert result.returncode == 2
    assert "must be written by `export --out`" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
