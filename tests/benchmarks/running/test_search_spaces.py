"""Search spaces: read from TOML, contain the registry's settings, and give clear errors if invalid."""

from pathlib import Path

import pytest

from agents.large_model.config import FINE_TUNING
from agents.registry import REGISTRY
from benchmarks.__main__ import main
from benchmarks.rows import ResultsError
from benchmarks.running.search_spaces import read_spaces, registry_settings, settings_at
from benchmarks.suites import with_settings

SPACES = read_spaces()


@pytest.mark.parametrize("name", SPACES)
def test_each_space_has_the_settings_of_the_registry_and_its_ends_are_allowed(name):
    if "contrib" in REGISTRY[name].path:
        pytest.importorskip("sb3_contrib")
    entry, space = REGISTRY[name], SPACES[name]
    point = registry_settings(entry, space)
    assert point.keys() == space.keys()
    for end in (0, -1):
        ends = {
            each: (values.choices[end] if hasattr(values, "choices") else (values.low, values.high)[end])
            for each, values in space.items()
        }
        tried = with_settings(entry, settings_at(entry, ends))
        tried.agent_class()(**tried.settings)  # refuses unknown names and values out of their range


def test_the_large_model_is_tuned_from_scratch_and_from_pretrained_weights():
    assert {"large-model", "large-model-distilled", "large-model-supervised", "large-model-fine-tuned"} <= set(SPACES)
    entry = REGISTRY["large-model-fine-tuned"]
    rate = "stage_overrides.distillation.learning_rate"
    settings = settings_at(entry, {"batch_sessions": 4, rate: 2e-4})
    distillation = {**FINE_TUNING["stage_overrides"]["distillation"], "learning_rate": 2e-4}
    assert settings == {"batch_sessions": 4, "stage_overrides": {"distillation": distillation}}
    assert FINE_TUNING["stage_overrides"]["distillation"]["learning_rate"] != 2e-4  # is left as it is
    agent = with_settings(entry, settings).agent_class()(**{**entry.settings, **settings})
    assert agent.config.stages()[0][0].learning_rate == 2e-4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[space", "cannot be read"),
        ("spaces = 1", "must consist of"),
        ('[[space]]\nagents = "ppo"\nsettings.gamma = [0.9]', "space 1: must have agents"),
        ('[[space]]\nagents = ["ppo"]', "must have agents (a list of names) and settings"),
        ('[[space]]\nagents = ["poppularity"]\nsettings.gamma = [0.9]', "did you mean 'popularity'"),
        ('[[space]]\nagents = ["ppo", "ppo"]\nsettings.gamma = [0.9]', "agent 'ppo': has two search spaces"),
        ('[[space]]\nagents = ["ppo"]\nsettings = {}', "must name at least one setting"),
        ('[[space]]\nagents = ["ppo"]\nsettings.gamma = {low = 0.5}', "settings.gamma={'low': 0.5}: must be a list"),
        ('[[space]]\nagents = ["ppo"]\nsettings.gamma = {low = 0, high = 0.5}', "two integers or two floats"),
        ('[[space]]\nagents = ["ppo"]\nsettings.gamma = {low = 0.9, high = 0.5}', "must be a list of choices, or low"),
        ('[[space]]\nagents = ["ppo"]\nsettings.gamma = {low = 0.0, high = 0.9, log = true}', "must be a list"),
        ('[[space]]\nagents = ["ppo"]\nsettings.gamma = 0.9', "settings.gamma=0.9: must be a list"),
    ],
)
def test_an_invalid_file_is_refused_in_one_line(tmp_path: Path, content, message, capsys):
    file = tmp_path / "spaces.toml"
    file.write_text(content)
    with pytest.raises(ResultsError) as error:
        read_spaces(file)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)
    assert main(["tune", "--spaces", str(file), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_settings_of_the_registry_must_be_in_the_space(tmp_path: Path):
    file = tmp_path / "spaces.toml"
    file.write_text('[[space]]\nagents = ["ppo"]\nsettings.gamma = {low = 0.1, high = 0.2}')
    with pytest.raises(ResultsError, match=r"gamma=0\.9 must be in its search space"):
        registry_settings(REGISTRY["ppo"], read_spaces(file)["ppo"])
    file.write_text('[[space]]\nagents = ["ppo"]\nsettings.gama = {low = 0.1, high = 0.2}')
    with pytest.raises(ResultsError, match="has no setting 'gama' to start from"):
        registry_settings(REGISTRY["ppo"], read_spaces(file)["ppo"])
