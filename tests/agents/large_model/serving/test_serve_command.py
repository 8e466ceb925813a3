"""`serve` starts where it may and can, and says in one line why it does not."""

import socket
import subprocess
import sys

import pytest
from conftest import CHECKOUT
from stand_in_exports import networks, stand_in_exports  # noqa: F401 (a fixture)

from agents.large_model.__main__ import main
from agents.large_model.serving.export_folder import DESCRIPTION
from agents.large_model.serving.model_versions import STATE, ModelVersions


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


@pytest.mark.usefixtures("stand_in_exports")
def test_a_folder_of_versions_that_is_damaged_is_refused(refused, tmp_path_factory):
    versions = ModelVersions.create(tmp_path_factory.mktemp("folder") / "models", *networks(1))
    (versions.export_of(versions.published) / DESCRIPTION).unlink()
    assert f"{versions.published}: not an exported model" in refused("--port", "0", "--model", str(versions.folder))
    (versions.folder / STATE).write_text("damaged")
    assert "models: not a folder of versions" in refused("--port", "0", "--model", str(versions.folder))
