"""Commands: arguments from configs, errors in one line, exit statuses."""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from agents.terminal import HelpFormatter, add_config_arguments, config_from, one_line, path, positive, run_command
from recsim_env.config import Checked, count, flag, number


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """A config."""

    num_steps: int = count(1_000, 1, 2_000)
    """User-steps, 100% of them."""
    rate: float = number(0.5, 0.0, 1.0)
    """Share of steps."""
    is_fast: bool = flag(False)
    """Skip checks."""
    env_ids: tuple[str, ...] = ("one",)
    """Scenarios."""


def parser_of_config(**arguments):
    parser = argparse.ArgumentParser(formatter_class=HelpFormatter)
    add_config_arguments(parser, Config, **arguments)
    return parser


def test_a_config_comes_back_from_its_arguments():
    parser = parser_of_config(flags={"num_steps": "steps"})
    assert config_from(parser.parse_args([]), Config) == Config()
    parsed = parser.parse_args(["--steps", "1_500", "--rate", "0.25", "--is-fast", "--env-ids", "a", "--env-ids", "b"])
    assert config_from(parsed, Config) == Config(num_steps=1_500, rate=0.25, is_fast=True, env_ids=("a", "b"))


@pytest.mark.parametrize("text", ["nan", "inf", "-0.1", "1.1", "many"])
def test_a_number_outside_the_range_of_its_field_ends_in_one_line(text, capsys):
    with pytest.raises(SystemExit):
        parser_of_config().parse_args([f"--rate={text}"])
    assert "must be a number in [0.0, 1.0]" in capsys.readouterr().err.splitlines()[-1]


def test_help_shows_docstrings_and_only_defaults_worth_mentioning():
    parser = parser_of_config()
    parser.add_argument("--folder", type=path, help="for results")
    parser.add_argument("--lanes", type=positive, default=8, help="sessions in parallel")
    text = " ".join(parser.format_help().split())
    assert "User-steps, 100% of them (default: 1000)" in text
    assert "sessions in parallel (default: 8)" in text
    assert "None" not in text
    assert "False" not in text


def run(action, arguments=("do",)):
    module = SimpleNamespace(__name__="package.commands.do", __doc__="Do it.\n\nAnd more.", do=lambda parsed: action())
    module.add_arguments = lambda parser: parser.add_argument("--agent")
    return run_command("package.tool", "A tool.", [module], arguments)


@pytest.mark.parametrize("error", [ValueError("bad\nvalue \udcff"), OSError(28, "No space left", "file")])
def test_an_expected_error_ends_in_one_line_and_status_2(error, capsys):
    def fail():
        raise error

    assert run(fail) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("tool: ")


def test_an_agent_that_exits_ends_the_command_with_status_2(capsys):
    assert run(lambda: sys.exit(0)) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_closed_pipe_ends_a_command_silently():
    command = [sys.executable, "-m", "benchmarks", "agents"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_control_characters_of_an_error_are_escaped():
    assert one_line(ValueError("red \x1b[31m\0\n\ud800")) == r"red \x1b[31m\x00 \ud800"


@pytest.mark.parametrize(("arguments", "near"), [(["doo"], "'do'"), (["do", "--agnt", "x"], "--agent")])
def test_a_misspelt_command_or_argument_is_answered_with_the_near_name(arguments, near, capsys):
    with pytest.raises(SystemExit):
        run(lambda: 0, arguments)
    assert f"did you mean {near}?" in capsys.readouterr().err


def test_a_command_has_hyphens_where_its_module_has_underscores(capsys):
    module = SimpleNamespace(__name__="package.commands.do_it", __doc__="Do it.", do_it=lambda parsed: 7)
    module.add_arguments = lambda parser: None
    assert run_command("package.tool", "A tool.", [module], ["do-it"]) == 7
    with pytest.raises(SystemExit):
        run_command("package.tool", "A tool.", [module], ["do_it"])
    assert "did you mean 'do-it'?" in capsys.readouterr().err


def test_an_interrupted_command_says_that_it_can_be_resumed(capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert run(interrupt) == 130
    assert "resumes" in capsys.readouterr().err


def test_a_path_with_a_nul_character_is_refused():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=path)
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", "a\0b"])


def test_importing_the_terminal_loads_no_learning_library():
    import subprocess

    code = "import sys, agents.terminal; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
