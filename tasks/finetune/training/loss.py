"""The diffusion loss and everything random in it, as pure functions of (seed, step, picture id)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler

from tasks.common.seeds import generator_for
from tasks.finetune.settings import FinetuneSettings


@dataclass(frozen=True)
class Draw:
    """What chance decides for one picture in one step; all float32 [4, h, w] but the timestep and the flag."""

    posterior_noise: torch.Tensor
    noise: torch.Tensor
    timestep: int
    drop_caption: bool


def draw(seed: int, step: int, picture: str, shape: torch.Size, settings: FinetuneSettings, timesteps: int) -> Draw:
    """Noise, timestep (uniform) and caption dropout of a picture in a step: no call order, batch or device in it."""
    generator = generator_for(seed, "training", step, picture)
    timestep = int(torch.randint(timesteps, (1,), generator=generator))
    drop_caption = bool(torch.rand(1, generator=generator) < settings.caption_dropout)
    posterior_noise, noise = torch.randn((2, *shape), generator=generator)
    if settings.offset_noise:
        noise = noise + settings.offset_noise * torch.randn((shape[0], 1, 1), generator=generator)
    return Draw(posterior_noise, noise, timestep, drop_caption)


def order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of the pictures in an epoch."""
    return torch.randperm(count, generator=generator_for(seed, "order", epoch)).tolist()


def learning_rate(step: int, steps: int, settings: FinetuneSettings) -> float:
    """The rate at a step, a pure function of it: linear warm-up, then constant or a cosine to 1 % of the peak."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.lr_schedule == "constant":
        return settings.learning_rate
    return cosine(step - settings.warmup_steps, steps - settings.warmup_steps, settings.learning_rate)


def cosine(step: int, steps: int, peak: float) -> float:
    """From `peak` at step 0 to 1 % of it at the last."""
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / max(1, steps))))


def diffusion_loss(
    model_pred: torch.Tensor,
    latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    scheduler: DDPMScheduler,
    min_snr_gamma: float = 0.0,
) -> torch.Tensor:
    """Per-picture MSE in fp32, [N], against the noise (epsilon) or the velocity (v, Salimans & Ho 2022).

    With `min_snr_gamma` each is weighted by min(SNR, gamma)/SNR, for v by min(SNR, gamma)/(SNR + 1)
    (Hang et al. 2023). Raises ValueError for another prediction type.
    """
    prediction_type = scheduler.config["prediction_type"]
    if prediction_type == "epsilon":
        target = noise
    elif prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)  # type: ignore[arg-type]
    else:
        raise ValueError(f"prediction type {prediction_type} is not trained here; use an epsilon or v_prediction base")
    loss = F.mse_loss(model_pred.float(), target.float(), reduction="none").mean(dim=(1, 2, 3))
    if min_snr_gamma:
        alphas = scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
        snr = alphas / (1 - alphas)
        divisor = snr + 1 if prediction_type == "v_prediction" else snr
        loss = loss * snr.clamp(max=min_snr_gamma) / divisor
    return loss
