"""The plain way to fine-tune: encode images and captions anew in every step. Only to measure what caching saves."""

from typing import Any

import torch

from tasks.common.rows import Row
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.data import pixels
from tasks.finetune.training.loss import diffusion_loss


def plain_optimizer(parameters: Any, settings: FinetuneSettings) -> torch.optim.Optimizer:
    """AdamW with the settings' hyperparameters as diffusers' own script makes it, which leaves fusing to torch."""
    betas = (0.9, settings.adam_beta2)
    return torch.optim.AdamW(parameters, lr=settings.learning_rate, betas=betas, weight_decay=settings.weight_decay)


def in_loop_step(
    rows: list[Row], parts: dict[str, Any], optimizer: torch.optim.Optimizer, resolution: int, autocast: Any,
    max_grad_norm: float = 1.0,
) -> float:  # fmt: skip
    """One optimizer step of the UNet in `parts` (unet, vae, text_encoder, tokenizer, scheduler); returns the loss.

    `autocast` is a context that casts the UNet's forward pass, as accelerate's does.
    """
    unet, vae, scheduler, tokenizer = parts["unet"], parts["vae"], parts["scheduler"], parts["tokenizer"]
    device = next(unet.parameters()).device
    with torch.no_grad():
        posterior = vae.encode(pixels(rows, resolution).to(device, vae.dtype)).latent_dist
        latents = posterior.sample().float() * vae.config.scaling_factor
        ids = tokenizer(
            [row.text for row in rows], padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        ).input_ids  # fmt: skip
        text = parts["text_encoder"](ids.to(device))[0].float()
    noise = torch.randn_like(latents)
    timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(rows),), device=device)
    with autocast:
        model_pred = unet(scheduler.add_noise(latents, noise, timesteps), timesteps, text, return_dict=False)[0]
        loss = diffusion_loss(model_pred, latents, noise, timesteps, scheduler).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(unet.parameters(), max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()
