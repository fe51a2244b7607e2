"""A model is its weights, not its address."""

import os
from pathlib import Path

from tasks.common import model_id
from tasks.common.model_id import model_identity
from tasks.common.store import sha256_of


def test_a_folder_is_its_files_wherever_it_lies(tmp_path: Path):
    for place in ("here", "moved"):
        (tmp_path / place / "unet").mkdir(parents=True)
        (tmp_path / place / "unet" / "config.json").write_text("{}")
        (tmp_path / place / "unet" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "moved" / "README.md").write_text("A card.")
    same = model_identity(str(tmp_path / "here"), None)
    assert model_identity(str(tmp_path / "moved"), None) == same
    (tmp_path / "moved" / "unet" / "model.safetensors").write_bytes(b"others!")
    assert model_identity(str(tmp_path / "moved"), None) != same


def test_a_model_of_the_hub_is_its_revision():
    assert model_identity("someone/model", "abc") == "someone/model@abc"
    assert model_identity("someone/model", None) == "someone/model@main"


def test_a_folder_is_read_once_until_a_file_of_it_changes(tmp_path, monkeypatch):
    """Every stage asks, and a base model is gigabytes; but a change of the same size and date must be seen."""
    read = []
    monkeypatch.setattr(model_id, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    first = model_identity(str(tmp_path), None)
    assert model_identity(str(tmp_path), None) == first
    assert read == ["config.json", "w.safetensors"]
    before = weights.stat()
    weights.write_bytes(b"two")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert model_identity(str(tmp_path), None) != first
    assert read[2:] == ["w.safetensors"]
