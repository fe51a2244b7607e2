"""A model is its weights, not its address."""

from pathlib import Path

from tasks.common.model_id import model_identity


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
