"""The VAE decoder's own stage: pixel loss on frozen latents. The encoder and `quant_conv` stay as they are.

The diffusion loss gives a decoder no gradient, so this is never summed with it. Cached latents and every other
model made for the base VAE stay valid.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import AutoencoderKL
from torchmetrics.functional.image import peak_signal_noise_ratio

from tasks.common.rows import Row
from tasks.common.seeds import generator_for
from tasks.diffusion.snapshots import decoder_parameters
from tasks.finetune.errors import LossError
from tasks.finetune.memory.prediction import pictures_at_once
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.data import pixels
from tasks.finetune.training.latents import LatentCache
from tasks.finetune.training.loss import cosine
from tasks.finetune.training.made import DecoderMade, DecoderProgress
from tasks.finetune.training.parts import decoder_plan
from tasks.finetune.training.state import load_state, save_state
from tasks.finetune.training.steps import StepInput
from tasks.finetune.training.steps_loop import LoopContext, LoopParts, go_through_steps

# Pictures with their latents, in the same order
Encoded = tuple[LatentCache, list[Row]]
# (step, decoder weights by name, held-out PSNR) → what was made
SaveDecoder = Callable[[int, dict[str, torch.Tensor], float | None], DecoderMade]


@torch.no_grad()
def psnr(vae: Any, latents: LatentCache, rows: list[Row], resolution: int, device: torch.device) -> float:
    """Mean PSNR in dB (pixels in [0, 1]) of decoding the mean latents of these pictures."""
    values = []
    size = pictures_at_once(resolution)
    for start in range(0, len(rows), size):
        target = pixels(rows[start : start + size], resolution).to(device)
        values.append(picture_psnr(vae, latents.mean[start : start + size].to(device), target))
    return torch.cat(values).mean().item()


def picture_psnr(vae: Any, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """PSNR [N] in dB of decoding scaled latents [N, 4, h, w] against pictures [N, 3, H, W] in [-1, 1].

    100 dB at most: without an end, one picture that is met exactly would make the mean infinite.
    """
    decoded = vae.decode(z / vae.config.scaling_factor).sample.float().clamp(-1, 1)
    return peak_signal_noise_ratio(decoded, target, data_range=2.0, reduction="none", dim=(1, 2, 3)).clamp_max(100)


def train_decoder(
    vae: AutoencoderKL, trained: Encoded, held_out: Encoded | None, wanted: set[int], save_decoder: SaveDecoder,
    context: LoopContext[DecoderMade],
) -> DecoderProgress:  # fmt: skip
    """Train the decoder from `context.resume` with L1 on pixels; returns the progress. Same errors as `train_unet`.

    After each of the `wanted` steps it has a snapshot, made by `save_decoder` unless it is there already.
    """
    settings, accelerator, progress = context.settings, context.accelerator, context.resume.progress
    _, rows = trained
    vae.to(accelerator.device)
    named = prepare_decoder(vae, settings)
    optimizer = new_decoder_optimizer(named, settings)
    if context.resume.state:
        load_state(context.resume.state, named, optimizer, None)
    batch, per_epoch = decoder_plan(len(rows), settings)
    steps = per_epoch * settings.decoder_epochs

    def snapshot() -> None:
        value = psnr(vae, *held_out, settings.resolution, accelerator.device) if held_out else None
        progress.add(save_decoder(progress.step, named, value))  # type: ignore[arg-type]

    parts = LoopParts(
        name="decoder", count=len(rows), batch=batch, per_epoch=per_epoch, steps=steps, wanted=wanted,
        rate=lambda step: cosine(step, steps, settings.decoder_learning_rate),
        optimize=lambda given: optimize_decoder(vae, named, optimizer, trained, given, settings, accelerator),
        snapshot=snapshot,
        save=lambda: save_state(context.folder, named, optimizer, None, progress),
    )  # fmt: skip
    return go_through_steps(parts, context)


def prepare_decoder(vae: Any, settings: FinetuneSettings) -> dict[str, torch.nn.Parameter]:
    """Let the decoder train and nothing else; returns its parameters by name.

    Activations of large pictures are computed anew in the backward pass instead of kept: the same bits, a quarter
    more time, and at 512 px a third of the memory.
    """
    vae.requires_grad_(False)
    named = decoder_parameters(vae)
    for p in named.values():
        p.requires_grad_(True)
    if min(settings.decoder_batch_size, pictures_at_once(settings.resolution)) * settings.resolution**2 >= 512**2:
        vae.enable_gradient_checkpointing()
    return named


def new_decoder_optimizer(named: dict[str, torch.nn.Parameter], settings: FinetuneSettings) -> torch.optim.Optimizer:
    """The decoder's AdamW, fused and without weight decay."""
    return torch.optim.AdamW(named.values(), lr=settings.decoder_learning_rate, weight_decay=0.0, fused=True)


def optimize_decoder(
    vae: Any, named: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, trained: Encoded,
    given: StepInput, settings: FinetuneSettings, accelerator: Accelerator,
) -> float:  # fmt: skip
    """One optimizer step over the given pictures; returns their mean loss. Raises LossError when one is not finite."""
    (latents, rows), chosen, step = trained, given.rows, given.step
    value, size = 0.0, pictures_at_once(settings.resolution)
    for start in range(0, len(chosen), size):
        part = chosen[start : start + size]
        z = draw_latents(latents, part, [rows[r].id for r in part], step, settings).to(accelerator.device)
        target = pixels([rows[r] for r in part], settings.resolution).to(accelerator.device)
        loss = decoder_loss(vae, z, target, accelerator) * (len(part) / len(chosen))
        value += loss.item()
        if not math.isfinite(value):
            names = ", ".join(rows[r].id[:12] for r in part[:8])
            raise LossError(f"decoder loss is {value} at step {step}, pictures {names}; lower decoder_learning_rate")
        loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(named.values(), settings.max_grad_norm).item()
    if not math.isfinite(norm):
        raise LossError(f"decoder gradient is {norm} at step {step}; lower decoder_learning_rate")
    for group in optimizer.param_groups:
        group["lr"] = given.rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value


def draw_latents(
    latents: LatentCache, chosen: list[int], ids: list[str], step: int, settings: FinetuneSettings
) -> torch.Tensor:
    """Latents of the chosen pictures, drawn of their posteriors: float32 [N, 4, h, w], still scaled."""
    shape = latents.mean.shape[1:]
    noise = [torch.randn(shape, generator=generator_for(settings.seed, "decoder", step, name)) for name in ids]
    return latents.mean[chosen] + latents.std[chosen] * torch.stack(noise)


def decoder_loss(vae: Any, z: torch.Tensor, target: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """L1 between pictures [N, 3, H, W] in [-1, 1] and what the decoder makes of their scaled latents [N, 4, h, w].

    Never in fp16: this VAE's activations can be too large for it.
    """
    halved = accelerator.mixed_precision == "bf16"
    with accelerator.autocast() if halved else contextlib.nullcontext():
        decoded = vae.decode(z / vae.config.scaling_factor, return_dict=False)[0]
    return F.l1_loss(decoded.float(), target)
