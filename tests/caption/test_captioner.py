"""Captions from a real BLIP: the same alone and in a batch, twice the same, and errors a person can act on."""

import io
import shutil
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.caption import captioner as captioner_module
from tasks.caption.captioner import caption_each, describe, load
from tasks.caption.identity import checked_identity, provenance
from tasks.caption.settings import CaptionSettings
from tasks.caption.task import release
from tasks.common.errors import ModelError
from tasks.common.store import Store
from tests.caption.blip import save_tiny_blip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)  # matrices this small only wait for a second thread
    return save_tiny_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture
def settings(folder):
    return CaptionSettings(model=str(folder), revision=None, device="cpu", max_new_tokens=12)


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(1)
    sizes = [(40 + 13 * i % 90, 100 - 7 * i % 50) for i in range(count)]
    return [Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(size, 0) for size in sizes]


def test_a_caption_does_not_depend_on_its_batch(settings):
    model = load(settings.model, None, "cpu")
    images = pictures(9)
    together = describe(model, images, settings, batch_size=9)
    assert describe(model, images, settings, batch_size=4) == together
    assert [describe(model, [image], settings)[0] for image in images] == together
    assert describe(model, images[::-1], settings, batch_size=5) == together[::-1]
    assert len(set(together)) > 3, "the pictures must matter, or this test proves nothing"


def test_length_limit_and_prefix_reach_the_model(settings):
    model, images = load(settings.model, None, "cpu"), pictures(4)
    assert max(len(said.split()) for said in describe(model, images, settings)) > 6
    short = settings.model_copy(update={"min_new_tokens": 1, "max_new_tokens": 4})
    assert max(len(said.split()) for said in describe(model, images, short)) <= 4
    prefixed = settings.model_copy(update={"prompt_prefix": "a drawing of"})
    assert all(said.startswith("a drawing of ") for said in describe(model, images, prefixed))


def test_out_of_memory_halves_the_batch_and_loses_nothing(settings, monkeypatch):
    model, images, sizes = load(settings.model, None, "cpu"), pictures(7), []
    whole = describe(model, images, settings)
    generate = captioner_module._generate

    def cramped(captioner, some, settings):
        sizes.append(len(some))
        if len(some) > 2:
            raise torch.OutOfMemoryError("full")
        return generate(captioner, some, settings)

    monkeypatch.setattr(captioner_module, "_generate", cramped)
    assert describe(model, images, settings, batch_size=8) == whole
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_not_even_one_fits(settings, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(captioner_module, "_generate", full)
    with pytest.raises(ModelError, match="device to cpu"):
        describe(load(settings.model, None, "cpu"), pictures(3), settings)


def test_stored_jpegs_get_captions_in_order(settings, tmp_path):
    store, keys = Store(str(tmp_path)), []
    for image in pictures(5):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=95)
        keys.append(store.put(out.getvalue()))
    captions = list(caption_each(keys, settings, store))
    assert [(key, caption.key) for key, caption in captions] == list(zip(keys, keys, strict=True))
    small = settings.model_copy(update={"batch_size": 2})
    assert list(caption_each(keys, small, store)) == captions
    assert list(caption_each(keys[::-1], settings, store)) == captions[::-1]


def test_a_released_model_is_gone_and_comes_back_when_it_is_needed(settings, tmp_path):
    """The training that follows needs the memory, and is another process."""
    store, out = Store(str(tmp_path)), io.BytesIO()
    pictures(1)[0].save(out, "JPEG")
    keys = [store.put(out.getvalue())]
    captions = list(caption_each(keys, settings, store))
    model = weakref.ref(load(settings.model, None, "cpu").model)
    weights = weakref.ref(next(model().parameters()))  # type: ignore[union-attr]
    release()
    assert (model(), weights()) == (None, None)
    assert list(caption_each(keys, settings, store)) == captions


def test_identity_is_the_weights_and_not_the_path(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    assert checked_identity(str(copy), None) == checked_identity(str(folder), None)
    assert checked_identity(str(save_tiny_blip(tmp_path / "other", seed=1)), None) != checked_identity(
        str(folder), None
    )
    here, there = CaptionSettings(model=str(folder)), CaptionSettings(model=str(copy))
    assert here.output_settings() == there.output_settings()
    assert checked_identity("org/name", "a" * 40) == "org/name@" + "a" * 40


def test_provenance_names_the_model_without_a_path(folder, settings):
    said = provenance(settings, checked_identity(str(folder), None))
    assert said["model"] == folder.name
    assert str(said["weights"]).startswith("sha256:")
    assert said["num_beams"] == 3
    assert "batch_size" not in said


def test_errors_name_the_model_and_a_remedy_in_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"org/none.* has no revision; pin") as caught:
        checked_identity("org/none", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        checked_identity(str(tmp_path / "empty"), None)
    with pytest.raises(ModelError, match="empty can't be loaded") as caught:
        load(str(tmp_path / "empty"), None, "cpu")
    assert "\n" not in str(caught.value)


def test_offline_hub_model(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"org/none@a+ can't be loaded \(offline\?: .*hf download org/none") as caught:
        load("org/none", "a" * 40, "cpu")
    assert "\n" not in str(caught.value)
