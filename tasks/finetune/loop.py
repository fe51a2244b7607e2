"""The UNet's training loop: plain accelerate over cached latents and text, resumable to the bit.

Every number in it is a function of (seed, step, picture id), so {weights, optimizer, EMA, step} is all it takes
to go on after a kill exactly as if nothing had happened.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel

from tasks.finetune.errors import Interrupted, LossError
from tasks.finetune.latents import LatentCache, TextCache
from tasks.finetune.loss import Draw, diffusion_loss, draw, learning_rate, order
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.state import load_state, save_state

# Held-out loss is measured at these shares of the noise schedule, always with the same noise.
HELD_OUT_TIMESTEPS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class TrainingData:
    """Cached latents and text of the trained and of the held-out pictures."""

    latents: LatentCache
    text: TextCache
    held_out_latents: LatentCache | None
    held_out_text: TextCache | None


@dataclass(frozen=True)
class Step:
    """What the loop tells of itself after each optimizer step. `images_per_second` is of this process's run."""

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    images_per_second: float


# (epoch, step, EMA or raw weights by name, mean train loss of the epoch, held-out loss) → JSON kept in the state
SaveSnapshot = Callable[[int, int, dict[str, torch.Tensor], float | None, float | None], dict[str, Any]]


def plan(count: int, settings: FinetuneSettings, processes: int) -> tuple[int, int]:
    """(pictures per optimizer step, optimizer steps per epoch). A last partial batch waits for the next epoch."""
    batch = settings.batch_size * settings.gradient_accumulation * processes
    batch = min(batch, max(processes, count - count % processes))
    return batch, max(1, count // batch)


def predict(
    unet: torch.nn.Module, latents: LatentCache, text: TextCache, rows: list[int], draws: list[Draw],
    scheduler: DDPMScheduler, device: torch.device, min_snr_gamma: float,
) -> torch.Tensor:  # fmt: skip
    """The per-picture loss of these rows under these draws."""
    posterior_noise = torch.stack([d.posterior_noise for d in draws])
    clean = (latents.mean[rows] + latents.std[rows] * posterior_noise).to(device)
    noise = torch.stack([d.noise for d in draws]).to(device)
    timesteps = torch.tensor([d.timestep for d in draws], device=device)
    captions = [0 if d.drop_caption else int(text.index[row]) for row, d in zip(rows, draws, strict=True)]
    noisy_latents = scheduler.add_noise(clean, noise, timesteps)
    noisy_latents = noisy_latents.to(memory_format=torch.channels_last)
    model_pred = unet(noisy_latents, timesteps, text.embeddings[captions].to(device), return_dict=False)[0]
    return diffusion_loss(model_pred, clean, noise, timesteps, scheduler, min_snr_gamma)


@torch.no_grad()
def held_out_loss(
    unet: torch.nn.Module, data: TrainingData, settings: FinetuneSettings, scheduler: DDPMScheduler, device: torch.device
) -> float | None:  # fmt: skip
    """Mean loss of the held-out pictures at fixed timesteps and noise, unweighted, captions kept."""
    latents, text = data.held_out_latents, data.held_out_text
    if latents is None or text is None:
        return None
    timesteps = int(scheduler.config["num_train_timesteps"])
    fixed = settings.model_copy(update={"caption_dropout": 0.0, "offset_noise": 0.0})
    total, rows = 0.0, list(range(len(latents.ids)))
    for share in HELD_OUT_TIMESTEPS:
        for start in range(0, len(rows), settings.batch_size):
            chosen = rows[start : start + settings.batch_size]
            drawn = [draw(0, -1, f"{latents.ids[r]}/{share}", latents.mean.shape[1:], fixed, timesteps) for r in chosen]
            draws = [Draw(d.posterior_noise, d.noise, int(share * timesteps), False) for d in drawn]
            total += predict(unet, latents, text, chosen, draws, scheduler, device, 0.0).sum().item()
    return total / (len(rows) * len(HELD_OUT_TIMESTEPS))


def train_unet(
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    data: TrainingData,
    settings: FinetuneSettings,
    state_path: Path,
    accelerator: Accelerator,
    save_snapshot: SaveSnapshot,
    report: Callable[[Step], None],
    stopping: Callable[[], bool],
) -> dict[str, Any]:
    """Train in place; returns the progress: step, `losses` per epoch and `snapshots` as `save_snapshot` gave them.

    Raises LossError before the optimizer moves when a loss is not finite, and Interrupted, with the state saved,
    when `stopping()` turns true.
    """
    unet.requires_grad_(True).train().to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    named = dict(unet.named_parameters())
    optimizer = torch.optim.AdamW(
        named.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay,
        betas=(0.9, settings.adam_beta2), fused=True,
    )  # fmt: skip
    ema = EMAModel(named.values(), decay=settings.ema_decay, foreach=True) if settings.ema_decay else None
    shadow = ema.shadow_params if ema else None
    progress = load_state(state_path, named, optimizer, shadow) or {"step": 0, "losses": [], "snapshots": []}
    if ema:
        ema.optimization_step = progress["step"]
    wrapped, optimizer = accelerator.prepare(unet, optimizer)

    ids, shape = data.latents.ids, data.latents.mean.shape[1:]
    batch, per_epoch = plan(len(ids), settings, accelerator.num_processes)
    steps, timesteps = settings.epochs * per_epoch, int(scheduler.config["num_train_timesteps"])
    device, rank, began, first = accelerator.device, accelerator.process_index, time.monotonic(), progress["step"]

    def snapshot(epoch: int) -> None:
        if ema:
            ema.store(named.values())
            ema.copy_to(named.values())
        unet.eval()
        held = held_out_loss(unet, data, settings, scheduler, device)
        unet.train()
        mean = _mean(progress["losses"][(epoch - 1) * per_epoch : epoch * per_epoch]) if epoch else None
        if accelerator.is_main_process:
            progress["snapshots"].append(save_snapshot(epoch, progress["step"], named, mean, held))
        if ema:
            ema.restore(named.values())

    def save() -> None:
        if accelerator.is_main_process:
            save_state(state_path, named, getattr(optimizer, "optimizer", optimizer), shadow, progress)

    if progress["step"] == 0 and not progress["snapshots"]:
        snapshot(0)
    for step in range(progress["step"], steps):
        epoch, within = divmod(step, per_epoch)
        rate = learning_rate(step, steps, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = order(settings.seed, epoch, len(ids))[within * batch : (within + 1) * batch]
        rows = rows[rank :: accelerator.num_processes]
        total = torch.zeros((), device=device)
        for start in range(0, len(rows), settings.batch_size):
            micro = rows[start : start + settings.batch_size]
            draws = [draw(settings.seed, step, ids[r], shape, settings, timesteps) for r in micro]
            with _sync_at_end(accelerator, wrapped, start + settings.batch_size >= len(rows)), accelerator.autocast():
                losses = predict(
                    wrapped, data.latents, data.text, micro, draws, scheduler, device, settings.min_snr_gamma
                )
                loss = losses.sum() / len(rows)
                accelerator.backward(loss)
            total += loss.detach()
        mean_loss = accelerator.reduce(total, "mean").item()
        if not math.isfinite(mean_loss):
            names = ", ".join(ids[r][:12] for r in rows)
            raise LossError(f"loss is {mean_loss} at step {step}, pictures {names}; lower learning_rate or remove them")
        accelerator.clip_grad_norm_(named.values(), settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if ema:
            ema.step(named.values())
        progress["step"] = step + 1
        progress["losses"].append(mean_loss)
        speed = (step + 1 - first) * batch / (time.monotonic() - began)
        report(Step(step + 1, steps, (step + 1) / per_epoch, mean_loss, rate, speed))
        done = (step + 1) % per_epoch == 0 and (epoch + 1) % settings.snapshot_every == 0
        if done or step + 1 == steps:
            snapshot(epoch + 1)
        stop = stopping()
        if done or stop or step + 1 == steps or (step + 1) % settings.checkpoint_steps == 0:
            save()
        if stop and step + 1 < steps:
            raise Interrupted(
                f"training stopped at step {step + 1} of {steps}; run the stage again to go on from there"
            )
    return progress


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _sync_at_end(accelerator: Accelerator, model: torch.nn.Module, last: bool) -> Any:
    import contextlib

    return contextlib.nullcontext() if last else accelerator.no_sync(model)
