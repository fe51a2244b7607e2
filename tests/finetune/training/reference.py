"""What a training must come to, written a second time: diffusers' examples/text_to_image/train_text_to_image.py.

Models, schedule and text embeddings are loaded and asked by diffusers' own pipeline; loss, clipping, AdamW and EMA are
that script's. Of wikistyle it takes chance alone (`draw` and `order`), so that both see the same noise.
"""

import hashlib
import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.training_utils import compute_snr
from PIL import Image

from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.loss import draw, order

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Picture:
    """A row of a dataset as the trainer sees it: `pixels` float32 [3, h, w] in [-1, 1]."""

    id: str
    pixels: torch.Tensor
    text: str


@dataclass
class Reference:
    """What came of it: weights at the start and end, their moving average, first moments; the figures of each step."""

    start: Tensors = field(default_factory=dict)
    weights: Tensors = field(default_factory=dict)
    ema: Tensors = field(default_factory=dict)
    exp_avg: Tensors = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


def load_pipeline(base: str) -> Any:
    pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pictures(dataset: str) -> list[Picture]:
    """The square pictures of a dataset in the order of their hashes; ToTensor and Normalize(0.5, 0.5) of the script."""
    found = []
    for row in pq.read_table(Path(dataset) / "train.parquet").to_pylist():
        data = row["image"]["bytes"]
        array = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.float64) / 255
        pixels = torch.from_numpy((array - 0.5) / 0.5).float().permute(2, 0, 1)
        found.append(Picture(hashlib.sha256(data).hexdigest(), pixels, row["text"]))
    return sorted(found, key=lambda picture: picture.id)


def parted(found: list[Picture], held_out: float) -> tuple[list[Picture], list[Picture]]:
    """(trained, held out) by the first eight digits of each hash, as a share of all there are."""
    apart = [int(p.id[:8], 16) / 16**8 < held_out for p in found]
    return [p for p, out in zip(found, apart, strict=True) if not out], [
        p for p, out in zip(found, apart, strict=True) if out
    ]


@torch.no_grad()
def encoded(pipe: Any, text: str) -> torch.Tensor:
    return pipe.encode_prompt(text, "cpu", 1, do_classifier_free_guidance=False)[0]


@torch.no_grad()
def latents_of(pipe: Any, batch: list[Picture], noise: torch.Tensor) -> torch.Tensor:
    posterior = pipe.vae.encode(torch.stack([p.pixels for p in batch])).latent_dist
    return (posterior.mean + posterior.std * noise) * pipe.vae.config.scaling_factor


def step_loss(
    pipe: Any, unet: Any, batch: list[Picture], draws: list[Any], gamma: float = 0.0
) -> torch.Tensor:  # fmt: skip
    """The script's loss over a batch, with the noise and timesteps of `draws`."""
    scheduler: Any = DDPMScheduler.from_config(pipe.scheduler.config)
    latents = latents_of(pipe, batch, torch.stack([d.posterior_noise for d in draws]))
    noise = torch.stack([d.noise for d in draws])
    timesteps = torch.tensor([d.timestep for d in draws])
    text = torch.cat([encoded(pipe, "" if d.drop_caption else p.text) for p, d in zip(batch, draws, strict=True)])
    # Ho et al. 2020, eq. 4, from the betas that SD v1 calls scaled linear.
    alpha_bar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    kept = alpha_bar[timesteps].float()[:, None, None, None]
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    velocity = scheduler.config["prediction_type"] == "v_prediction"
    target = kept.sqrt() * noise - (1 - kept).sqrt() * latents if velocity else noise
    predicted = unet(noisy, timesteps, text, return_dict=False)[0]
    if not gamma:
        return F.mse_loss(predicted.float(), target.float(), reduction="mean")
    snr = compute_snr(scheduler, timesteps)
    weights = torch.stack([snr, gamma * torch.ones_like(timesteps)], dim=1).min(dim=1)[0]
    weights = weights / (snr + 1) if velocity else weights / snr
    loss = F.mse_loss(predicted.float(), target.float(), reduction="none")
    return (loss.mean(dim=list(range(1, len(loss.shape)))) * weights).mean()


def rate_at(step: int, steps: int, settings: FinetuneSettings) -> float:
    """By the README's words: linear to the peak, then the peak, or a cosine down to a hundredth of it."""
    warm = settings.warmup_steps
    if step < warm:
        return (step + 1) / warm * settings.learning_rate
    if settings.lr_schedule == "constant":
        return settings.learning_rate
    low = settings.learning_rate / 100
    return low + (settings.learning_rate - low) * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2


def moving_average(history: list[torch.Tensor], decay: float) -> torch.Tensor:
    """Closed form of diffusers' EMA over the weights after each step: the sum of each times what is left of its share.

    The first step replaces what was there; step k (from 1) keeps min(k / (k + 9), decay) of it.
    """
    kept = [0.0] + [min(k / (k + 9), decay) for k in range(2, len(history) + 1)]
    shares = [(1 - kept[i]) * math.prod(kept[i + 1 :]) for i in range(len(kept))]
    return sum((share * weights.double() for share, weights in zip(shares, history, strict=True)), torch.zeros(()))


def train(base: str, dataset: str, settings: FinetuneSettings, steps: int | None = None) -> Reference:
    """The UNet after `steps` (or all) optimizer steps; batches of `batch_size * gradient_accumulation` pictures."""
    pipe = load_pipeline(base)
    unet = pipe.unet.train()
    done = Reference(start={name: p.detach().clone() for name, p in unet.named_parameters()})
    trained, _ = parted(pictures(dataset), settings.held_out)
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=settings.learning_rate, betas=(0.9, settings.adam_beta2), eps=1e-8,
        weight_decay=settings.weight_decay,
    )  # fmt: skip
    batch = settings.batch_size * settings.gradient_accumulation
    per_epoch = len(trained) // batch
    history: dict[str, list[torch.Tensor]] = {name: [] for name, _ in unet.named_parameters()}
    for step in range(steps or settings.epochs * per_epoch):
        place = step % per_epoch * batch
        chosen = [trained[r] for r in order(settings.seed, step // per_epoch, len(trained))[place : place + batch]]
        shape = torch.Size((4, settings.resolution // 4, settings.resolution // 4))
        draws = [draw(settings.seed, step, p.id, shape, settings, 1000) for p in chosen]
        loss = step_loss(pipe, unet, chosen, draws, settings.min_snr_gamma)
        loss.backward()
        done.norms.append(torch.nn.utils.clip_grad_norm_(unet.parameters(), settings.max_grad_norm).item())
        done.losses.append(loss.item())
        done.rates.append(rate_at(step, settings.epochs * per_epoch, settings))
        for group in optimizer.param_groups:
            group["lr"] = done.rates[-1]
        optimizer.step()
        optimizer.zero_grad()
        for name, p in unet.named_parameters():
            history[name].append(p.detach().clone())
    done.weights = {name: weights[-1] for name, weights in history.items()}
    done.ema = {name: moving_average(weights, settings.ema_decay).float() for name, weights in history.items()}
    done.exp_avg = {name: optimizer.state[p]["exp_avg"] for name, p in unet.named_parameters()}
    return done


def apart(found: Tensors, wanted: Tensors, start: Tensors | None = None) -> float:
    """How far the two are apart, as a share of the way from `start` (or zero) to what is wanted.

    Over all tensors together: AdamW turns the rounding of a gradient that is nearly zero into a whole step.
    """
    assert found.keys() == wanted.keys()
    pairs = [(found[name].double() - wanted[name].double()).square().sum() for name in wanted]
    ways = [(wanted[name].double() - (start[name].double() if start else 0)).square().sum() for name in wanted]
    return float((sum(pairs) / sum(ways)) ** 0.5)
