"""What loads a language model: from a folder or the hub, or one line that says why not."""

import shutil
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
from small_language_models import raised, save_language_model

from agents.large_model.config import LanguageConfig
from agents.large_model.language import LanguageBackbone


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> str:
    return save_language_model(tmp_path_factory.mktemp("llama"))


def test_what_cannot_be_loaded_is_said_in_one_line(tmp_path, monkeypatch):
    def load(name, **settings):
        return raised(ValueError, LanguageBackbone, LanguageConfig(name=str(name), **settings))

    missing = load(tmp_path / "nowhere")
    assert missing.startswith(f"language_model={str(tmp_path / 'nowhere')!r}: no such folder; must be a folder with")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "not found on the hub either" in load("nobody/nothing")
    (tmp_path / "empty").mkdir()
    assert "cannot be read from that folder" in load(tmp_path / "empty")
    whole = Path(save_language_model(tmp_path / "whole"))
    weights = safetensors.torch.load_file(whole / "model.safetensors")
    del weights["model.norm.weight"]
    safetensors.torch.save_file(weights, whole / "model.safetensors", {"format": "pt"})
    assert "lacks 1 of its weights" in load(whole)
    (whole / "model.safetensors").write_bytes(b"damaged")
    assert "cannot be read from that folder" in load(whole)
    assert "looks ahead" in load(save_language_model(tmp_path / "bert", "bert"))
    assert "bloom cannot be read session by session" in load(save_language_model(tmp_path / "bloom", "bloom"))


def test_a_model_of_the_hub_is_found_without_a_network_once_it_is_downloaded(llama, tmp_path, monkeypatch):
    downloaded = tmp_path / "models--owner--small"
    shutil.copytree(llama, downloaded / "snapshots" / "1a2b3c")
    (downloaded / "refs").mkdir()
    (downloaded / "refs" / "main").write_text("1a2b3c")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    found = LanguageBackbone(LanguageConfig(name="owner/small"))
    assert found.settings.fingerprint == LanguageBackbone(LanguageConfig(name=llama)).settings.fingerprint
    asked = []
    monkeypatch.setattr(huggingface_hub, "model_info", lambda name, timeout: asked.append(name))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: llama)
    LanguageBackbone(LanguageConfig(name="owner/small"))
    assert asked == ["owner/small"]
