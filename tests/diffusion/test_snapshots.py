"""Snapshots are small, the same bytes for the same weights, and go into the base they were trained from only."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from tasks.common.errors import ModelError
from tasks.common.model_id import model_identity
from tasks.common.records import Snapshot, StoredFile
from tasks.common.store import Store
from tasks.diffusion.assemble import assemble
from tasks.diffusion.loading import load_part
from tasks.diffusion.pipeline import load_base, put_in
from tasks.diffusion.snapshots import DECODER_FILE, UNET_FILE, decoder_parameters, load_weights, save_weights

PARTS = ("unet", "decoder")


def saved(part: str, base: str, store: Store) -> StoredFile:
    """Weights of chance for one part of this base, as a training stores them."""
    torch.manual_seed(1)
    model: Any = load_part("unet" if part == "unet" else "vae", base, None)
    named = dict(model.named_parameters()) if part == "unet" else decoder_parameters(model)
    chance = {name: torch.randn_like(value) for name, value in named.items()}
    return save_weights(UNET_FILE if part == "unet" else DECODER_FILE, chance, model_identity(base, None), store)


def snapshot(**files: StoredFile) -> Snapshot:
    return Snapshot(
        epoch=3, step=9, weights="ema", unet=files.get("unet"), decoder=files.get("decoder"), train_loss=None,
        heldout_loss=None, decoder_psnr=None,
    )  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_the_same_weights_are_the_same_bytes_in_fp16(part, base, store):
    first = saved(part, base, store)
    assert saved(part, base, store) == first
    tensors = load_file(store.path(first.key))
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    assert first.bytes == store.path(first.key).stat().st_size


def sample(base: str, one: Snapshot, folder: Path, store: Store) -> None:
    put_in(load_base(base, None, "cpu", torch.float32), one, store)


def write(base: str, one: Snapshot, folder: Path, store: Store) -> None:
    assemble(base, None, one, folder, store)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("use", [sample, write])
def test_a_snapshot_of_another_base_is_refused_in_one_line(use, part, base, other_base, store, tmp_path):
    """Their shapes are the same: without the base's name in the snapshot, it would draw, and wrongly."""
    theirs = snapshot(**{part: saved(part, base, store)})
    with pytest.raises(ModelError, match=r"^snapshot \w{12} was trained from base model sha256:\w+, not ") as error:
        use(other_base, theirs, tmp_path / "model", store)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("part", PARTS)
def test_a_snapshot_goes_into_its_base_wherever_that_lies(part, base, store, tmp_path):
    moved = shutil.copytree(base, tmp_path / "moved")
    file = saved(part, base, store)
    loaded = load_base(str(moved), None, "cpu", torch.float32)
    put_in(loaded, snapshot(**{part: file}), store)
    inside: Any = loaded.pipe.unet if part == "unet" else loaded.pipe.vae
    assert all(
        torch.equal(inside.state_dict()[name].half(), value) for name, value in load_file(store.path(file.key)).items()
    )


def test_weights_that_name_no_base_are_taken_as_they_are(store):
    plain = StoredFile(path="x", key=store.put(save({"w": torch.ones(2)})), bytes=1)
    assert torch.equal(load_weights(plain, "any", store)["w"], torch.ones(2))


def test_the_decoder_is_all_of_the_vae_but_its_encoder(base):
    vae: Any = load_part("vae", base, None)
    names = set(decoder_parameters(vae))
    rest = {name for name, _ in vae.named_parameters()} - names
    assert {name.split(".")[0] for name in names} == {"decoder", "post_quant_conv"}
    assert {name.split(".")[0] for name in rest} == {"encoder", "quant_conv"}
