"""Files of agents: the same bytes for the same agent; one line that names a file that is damaged."""

import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import agents
from agents.saved_tensors import is_zip, load_tensors, save_tensors

_POPULARITY = "agents.rules.popularity:PopularityAgent"


def test_an_agent_that_is_saved_again_has_the_same_bytes(tmp_path: Path):
    tensors = {name: np.arange(length, dtype=np.float32) for length, name in enumerate(("zwölf", "a", "b"), start=1)}
    settings = {"settings": {"text": 'Zoë "quoted"\n\u2028\x01'}}
    for number in range(20):  # the library's own order is random
        save_tensors(tmp_path / f"{number}", "module:Agent", tensors, settings)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
    loaded, kept = load_tensors(tmp_path / "0", "module:Agent")
    assert kept == settings
    assert {name: each.tolist() for name, each in loaded.items()} == {
        name: each.tolist() for name, each in tensors.items()
    }


def test_tensors_that_contain_a_zip_file_are_no_zip_file(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("data", "{}")
    content = np.frombuffer((tmp_path / "model.zip").read_bytes(), np.uint8)
    save_tensors(tmp_path / "model.safetensors", "module:Agent", {"zip": content}, {})
    assert zipfile.is_zipfile(tmp_path / "model.safetensors")
    assert [is_zip(tmp_path / name) for name in ("model.zip", "model.safetensors", "absent", "")] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("settings", ["[]", "3", "{}", '{"settings": 3}', '{"settings": {"zz": 1}}', "[" * 100_000])
def test_settings_that_do_not_fit_are_refused_in_one_line(settings, tmp_path: Path):
    file = tmp_path / "agent.safetensors"
    weights = np.zeros(2)
    checksum = sha256(f"{settings}weights float64 (2,)".encode() + weights.tobytes()).hexdigest()
    metadata = {"agent": _POPULARITY, "settings": settings, "sha256": checksum}
    file.write_bytes(safetensors.numpy.save({"weights": weights}, metadata))
    with pytest.raises(ValueError, match=r"agent\.safetensors: ") as caught:
        agents.load(file)
    assert "\n" not in str(caught.value)
    assert "checksum" not in str(caught.value)


@pytest.mark.parametrize(("checksum", "problem"), [({}, "it has no checksum"), ({"sha256": "0"}, "checksum is wrong")])
def test_a_file_without_the_right_checksum_is_refused(checksum, problem, tmp_path: Path):
    file = tmp_path / "agent.safetensors"
    metadata = {"agent": _POPULARITY, "settings": '{"settings": {}}', **checksum}
    file.write_bytes(safetensors.numpy.save({"weights": np.zeros(2)}, metadata))
    with pytest.raises(ValueError, match=rf"agent\.safetensors: .*{problem}"):
        agents.load(file)


def test_weights_that_are_nan_are_refused(tmp_path: Path):
    file = tmp_path / "agent.safetensors"
    save_tensors(file, _POPULARITY, {"weights": np.full(2, np.nan)}, {"settings": {}})
    with pytest.raises(ValueError, match=r"agent\.safetensors: .*weights has values that are not finite"):
        agents.load(file)


def test_a_misspelt_setting_of_an_agent_is_answered_with_the_near_name():
    with pytest.raises(TypeError, match="'sed': unknown; did you mean 'seed'"):
        agents.make("popularity", "recsim_env/Video-v0", sed=1)


def test_a_misspelt_algorithm_is_answered_with_the_near_name():
    pytest.importorskip("stable_baselines3")
    with pytest.raises(agents.registry.UnknownAgentError, match="did you mean 'sb3:PPO'"):
        agents.registry.entry_named("sb3:PPOO")
