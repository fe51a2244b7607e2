"""Pictures of the validation prompts while the training runs, from their own noise: nothing else is touched."""

# diffusers names its classes lazily.
# pyright: reportPrivateImportUsage=false

from typing import Any

import torch
from diffusers import DDIMScheduler
from PIL import Image

from tasks.finetune.latents import TextCache
from tasks.randomness import generator_for

STEPS, GUIDANCE = 20, 7.5
TOGETHER = 4  # prompts drawn at once, for which a GPU that trains has room


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
    for prompts in text.index.split(TOGETHER):
        noise = [torch.randn((4, side, side), generator=generator_for(seed, "preview", int(p))) for p in prompts]
        latents = torch.stack(noise).to(device)
        both = torch.cat([text.embeddings[torch.zeros_like(prompts)], text.embeddings[prompts]]).to(device)
        for t in solver.timesteps:
            without, given = unet(torch.cat([latents, latents]), t, both, return_dict=False)[0].float().chunk(2)
            guided = without + GUIDANCE * (given - without)
            latents = solver.step(guided, int(t), latents, return_dict=False)[0]
        decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        pixels = ((decoded.float().clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
        drawn += [Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).numpy()]
    return drawn
