"""The decoder's stage against its own formula: L1 on pixels, AdamW with a cosine, and PSNR by numpy."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tasks.common.records import Training
from tasks.common.seeds import generator_for
from tasks.common.store import Store
from tasks.finetune.errors import Interrupted
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.decoder import picture_psnr
from tasks.finetune.training.loss import order
from tasks.finetune.training.steps import Step
from tests.finetune.tiny import run, settings_for, states_of
from tests.finetune.training import reference

SETTINGS: dict[str, Any] = {
    "epochs": 1, "snapshot_every": 1, "decoder_epochs": 2, "decoder_batch_size": 4, "decoder_learning_rate": 2e-3,
    "max_grad_norm": 0.05, "held_out": 0.4,
}  # fmt: skip


@torch.no_grad()
def psnr_of(pipe: Any, pictures: list[reference.Picture]) -> float:
    """10 log10(1 / MSE) of pixels in [0, 1], of what the decoder makes of each mean latent; the mean over pictures."""
    values = []
    for picture in pictures:
        mean = pipe.vae.encode(picture.pixels[None]).latent_dist.mean
        decoded = np.clip(pipe.vae.decode(mean).sample[0].double().numpy() / 2 + 0.5, 0, 1)
        mse = np.mean((decoded - (picture.pixels.double().numpy() / 2 + 0.5)) ** 2)
        values.append(10 * math.log10(1 / mse))
    return float(np.mean(values))


def reference_decoder(pipe: Any, pictures: list[reference.Picture], settings: FinetuneSettings) -> list[float]:
    """Train the decoder of the pipeline in place; the loss of each step, and the least norm after them."""
    vae = pipe.vae
    vae.requires_grad_(False)
    trained = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    for p in trained:
        p.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, weight_decay=0.0)
    batch = settings.decoder_batch_size
    per_epoch = len(pictures) // batch
    steps, losses = per_epoch * settings.decoder_epochs, []
    for step in range(steps):
        place = step % per_epoch * batch
        chosen = [pictures[r] for r in order(0, step // per_epoch, len(pictures))[place : place + batch]]
        noise = torch.stack([torch.randn((4, 8, 8), generator=generator_for(0, "decoder", step, p.id)) for p in chosen])
        target = torch.stack([p.pixels for p in chosen])
        with torch.no_grad():
            posterior = vae.encode(target).latent_dist
        loss = (vae.decode(posterior.mean + posterior.std * noise).sample - target).abs().mean()
        loss.backward()
        assert torch.nn.utils.clip_grad_norm_(trained, settings.max_grad_norm) > 2 * settings.max_grad_norm
        peak = settings.decoder_learning_rate
        for group in optimizer.param_groups:
            group["lr"] = peak / 100 + peak * 0.99 * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def decoder_of(vae: Any) -> reference.Tensors:
    return {n: p.detach() for n, p in vae.state_dict().items() if n.startswith(("decoder.", "post_quant_conv."))}


def test_the_decoder_stage_is_l1_by_adamw_and_a_cosine(dataset, base, store, tmp_path: Path):
    settings = settings_for(base, **SETTINGS)
    told: list[Step] = []
    training = run(
        dataset, settings, tmp_path / "t", store,
        report=lambda stage, step: told.append(step) if stage == "decoder" else None,
    )  # fmt: skip
    pipe = reference.load_pipeline(base)
    trained, held_out = reference.parted(reference.pictures(dataset), settings.held_out)
    start = {name: p.clone() for name, p in decoder_of(pipe.vae).items()}
    before = psnr_of(pipe, held_out)
    losses = reference_decoder(pipe, trained, settings)
    assert [step.loss for step in told] == pytest.approx(losses, rel=1e-5)
    weights = load_file(store.path(training.snapshots[-1].decoder.key))  # type: ignore[union-attr]
    assert reference.apart(weights, {n: p.half() for n, p in decoder_of(pipe.vae).items()}, start) < 3e-3
    assert (training.psnr_before, training.psnr_after) == pytest.approx((before, psnr_of(pipe, held_out)), rel=1e-5)
    assert training.psnr_before != training.psnr_after


@pytest.mark.parametrize("part", ["unet", "decoder"])
def test_stopped_in_the_middle_of_a_part_it_ends_in_the_same_bits(part, dataset, base, tmp_path: Path):
    settings = settings_for(base, **(SETTINGS | {"checkpoint_steps": 1, "ema_decay": 0.9}))
    done: list[str] = []

    def go(folder: str, **more: Any) -> tuple[Training, list[bytes]]:
        trained = run(dataset, settings, tmp_path / folder, Store(str(tmp_path / f"{folder}-store")), **more)
        return trained, [states_of(name, tmp_path / folder)[0].read_bytes() for name in ("unet", "decoder")]

    with pytest.raises(Interrupted):
        go("stopped", report=lambda name, step: done.append(name), stopping=lambda: done.count(part) == 2)
    assert go("stopped") == go("whole")


def test_without_held_out_pictures_there_is_no_psnr(dataset, base, store, tmp_path: Path):
    training = run(dataset, settings_for(base, **(SETTINGS | {"held_out": 0.0})), tmp_path / "t", store)
    assert {s.decoder_psnr for s in training.snapshots} == {None}
    assert (training.psnr_before, training.psnr_after, training.images_held_out) == (None, None, 0)


class Painted(torch.nn.Module):
    """A VAE that decodes each latent to what was painted, whatever the latent is."""

    def __init__(self, pictures: torch.Tensor) -> None:
        super().__init__()
        self.config = SimpleNamespace(scaling_factor=0.5)
        self.pictures = pictures

    def decode(self, z: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=self.pictures)


def test_psnr_of_each_picture_is_numpys_and_one_met_exactly_has_100_db():
    """The figure is of pixels in [0, 1], what is beyond them cut off."""
    generator = torch.Generator().manual_seed(1)
    target = torch.rand((3, 3, 16, 24), generator=generator) * 2 - 1
    decoded = target + torch.tensor([0.0, 0.01, 0.8]).view(3, 1, 1, 1) * torch.randn(target.shape, generator=generator)
    wrong = (np.clip(decoded.double().numpy(), -1, 1) - target.double().numpy()) / 2
    found = picture_psnr(Painted(decoded), torch.zeros(3, 4, 4, 6), target).tolist()
    assert found[1:] == pytest.approx([10 * math.log10(1 / np.mean(one**2)) for one in wrong[1:]], rel=1e-5)
    assert found[0] == 100
