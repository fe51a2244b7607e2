"""What the UNet is asked to do: predict the noise in cached latents; and how well it does so on held-out pictures."""

from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler

from tasks.common.seeds import seed_for
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.latents import LatentCache, TextCache
from tasks.finetune.training.loss import Draw, diffusion_loss, draw

# Held-out loss is measured at these shares of the noise schedule, always with the same noise.
HELD_OUT_TIMESTEPS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class TrainingData:
    """Cached latents and text of the trained and of the held-out pictures, and the text of the preview prompts."""

    latents: LatentCache
    text: TextCache
    held_out_latents: LatentCache | None
    held_out_text: TextCache | None
    previews: TextCache | None = None


@dataclass(frozen=True)
class Objective:
    """How noise is added and the loss weighted (`min_snr_gamma`; 0: not at all), and on which device."""

    scheduler: DDPMScheduler
    device: torch.device
    min_snr_gamma: float = 0.0


def predict(
    unet: torch.nn.Module,
    latents: LatentCache,
    text: TextCache,
    rows: list[int],
    draws: list[Draw],
    objective: Objective,
) -> torch.Tensor:
    """The per-picture loss of these rows under these draws, float32 [len(rows)]."""
    scheduler, device = objective.scheduler, objective.device
    posterior_noise = torch.stack([d.posterior_noise for d in draws])
    clean = (latents.mean[rows] + latents.std[rows] * posterior_noise).to(device)
    noise = torch.stack([d.noise for d in draws]).to(device)
    timesteps = torch.tensor([d.timestep for d in draws], device=device)
    captions = [0 if d.drop_caption else int(text.index[row]) for row, d in zip(rows, draws, strict=True)]
    noisy_latents = scheduler.add_noise(clean, noise, timesteps)  # type: ignore[arg-type]
    noisy_latents = noisy_latents.to(memory_format=torch.channels_last)
    model_pred = unet(noisy_latents, timesteps, text.embeddings[captions].to(device), return_dict=False)[0]
    return diffusion_loss(model_pred, clean, noise, timesteps, scheduler, objective.min_snr_gamma)


def held_out_loss(
    unet: torch.nn.Module, data: TrainingData, settings: FinetuneSettings, scheduler: DDPMScheduler,
    device: torch.device,
) -> float | None:  # fmt: skip
    """Mean loss of the held-out pictures at fixed timesteps and noise, unweighted, captions kept; None without any."""
    latents, text = data.held_out_latents, data.held_out_text
    if latents is None or text is None:
        return None
    rows = list(range(len(latents.ids)))
    return _fixed_loss(unet, latents, text, rows, latents.ids, settings, Objective(scheduler, device))


def probe_loss(
    unet: torch.nn.Module, data: TrainingData, settings: FinetuneSettings, scheduler: DDPMScheduler,
    device: torch.device,
) -> float | None:  # fmt: skip
    """The same of as many trained pictures, at the very same noise and timesteps; None without held-out ones.

    The pictures are chosen by their content, so they are the same at every snapshot and in every run.
    """
    if data.held_out_latents is None:
        return None
    ids, noise_of = data.latents.ids, data.held_out_latents.ids
    rows = sorted(range(len(ids)), key=lambda row: seed_for(0, "probe", ids[row]))[: len(noise_of)]
    return _fixed_loss(unet, data.latents, data.text, rows, noise_of, settings, Objective(scheduler, device))


@torch.no_grad()
def _fixed_loss(
    unet: torch.nn.Module, latents: LatentCache, text: TextCache, rows: list[int], noise_of: tuple[str, ...],
    settings: FinetuneSettings, objective: Objective,
) -> float:  # fmt: skip
    """The mean over `rows` and the fixed timesteps; each row has the noise of the picture that stands at its place."""
    timesteps = int(objective.scheduler.config["num_train_timesteps"])
    fixed = settings.model_copy(update={"caption_dropout": 0.0, "offset_noise": 0.0})
    shape, total = latents.mean.shape[1:], 0.0
    for share in HELD_OUT_TIMESTEPS:
        for start in range(0, len(rows), settings.batch_size):
            chosen = rows[start : start + settings.batch_size]
            noises = noise_of[start : start + len(chosen)]
            drawn = [draw(0, -1, f"{noise}/{share}", shape, fixed, timesteps) for noise in noises]
            draws = [Draw(d.posterior_noise, d.noise, int(share * timesteps), False) for d in drawn]
            total += predict(unet, latents, text, chosen, draws, objective).sum().item()
    return total / (len(rows) * len(HELD_OUT_TIMESTEPS))
