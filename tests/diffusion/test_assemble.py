"""A run's model is a plain folder: the base's own where nothing was trained, whole or not there at all."""

from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from tasks.common.errors import ModelError
from tasks.common.files import FolderError
from tasks.diffusion.assemble import assemble
from tests.diffusion.test_snapshots import saved, snapshot


def test_without_trained_weights_it_is_the_base_in_fp16(base, store, tmp_path):
    assemble(base, None, snapshot(), tmp_path / "model", store)
    made: Any = StableDiffusionPipeline.from_pretrained(tmp_path / "model", safety_checker=None)
    own: Any = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(made, part).state_dict(), getattr(own, part).state_dict()
        assert all(torch.equal(ours[name].half(), value.half()) for name, value in theirs.items()), part
    assert made.scheduler.config == own.scheduler.config


def test_the_same_snapshot_is_the_same_files(base, store, tmp_path):
    one = snapshot(unet=saved("unet", base, store), decoder=saved("decoder", base, store))
    for name in ("first", "second"):
        assemble(base, None, one, tmp_path / name, store)
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        for folder in (tmp_path / "first", tmp_path / "second")
    )
    assert first == second
    assert first


def test_a_base_that_is_not_there_leaves_no_folder(store, tmp_path):
    with pytest.raises(ModelError, match="can't be loaded"):
        assemble(str(tmp_path / "nowhere"), None, snapshot(), tmp_path / "model", store)
    assert not (tmp_path / "model").exists()


def test_a_folder_that_holds_something_is_left_alone(base, store, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")
    with pytest.raises(FolderError, match="holds mine"):
        assemble(base, None, snapshot(), tmp_path / "model", store)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine"]
