"""Pictures of the validation prompts while the training runs, from their own noise: nothing else is touched."""

from typing import Any

import torch
from diffusers import DDIMScheduler
from PIL import Image

from tasks.common.seeds import generator_for
from tasks.finetune.memory.prediction import pictures_at_once
from tasks.finetune.training.latents import TextCache

STEPS, GUIDANCE = 20, 7.5
TOGETHER = 4  # prompts drawn at once at most; fewer when the pictures are large


@torch.no_grad()
def draw_previews(
    unet: torch.nn.Module, vae: Any, scheduler: Any, text: TextCache, resolution: int, seed: int
) -> list[Image.Image]:  # fmt: skip
    """One picture for each prompt of `text`: deterministic DDIM, 20 steps, guidance 7.5."""
    device = next(unet.parameters()).device
    solver: Any = DDIMScheduler.from_config(scheduler.config, clip_sample=False)
    solver.set_timesteps(STEPS)
    side = resolution // (2 ** (len(vae.config.block_out_channels) - 1))
    drawn = []
    for prompts in text.index.split(min(TOGETHER, pictures_at_once(resolution))):
        noise = [torch.randn((4, side, side), generator=generator_for(seed, "preview", int(p))) for p in prompts]
        latents = torch.stack(noise).to(device)
        both = torch.cat([text.embeddings[torch.zeros_like(prompts)], text.embeddings[prompts]]).to(device)
        for t in solver.timesteps:
            latents = solver.step(guided_noise(unet, latents, t, both), int(t), latents, return_dict=False)[0]
        pixels = decode_previews(vae, latents)
        drawn += [Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).numpy()]
    return drawn


def guided_noise(unet: torch.nn.Module, latents: torch.Tensor, t: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """float32 [N, 4, h, w]: the noise in latents [N, 4, h, w] at step `t`, steered from the first half of `text`
    [2N, tokens, width] to the second (Ho & Salimans 2022)."""
    without, given = unet(torch.cat([latents, latents]), t, text, return_dict=False)[0].float().chunk(2)
    return without + GUIDANCE * (given - without)


def decode_previews(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """uint8 [N, 3, H, W] on the CPU, of scaled latents [N, 4, h, w]."""
    decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
    return ((decoded.float().clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
