"""Pictures of the validation prompts while the training runs, from their own noise: nothing else is touched."""

from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image

from tasks.common.seeds import generator_for
from tasks.finetune.memory.prediction import pictures_at_once
from tasks.finetune.training.latents import TextCache

STEPS, GUIDANCE = 20, 7.5
TOGETHER = 4  # prompts drawn at once at most; fewer when the pictures are large


def draw_previews(
    unet: torch.nn.Module, vae: Any, scheduler: Any, text: TextCache, resolution: int, seed: int
) -> list[Image.Image]:  # fmt: skip
    """One RGB picture for each prompt of `text`: deterministic DDIM, 20 steps, guidance 7.5.

    diffusers' own pipeline draws them from embeddings, so it needs no text encoder.
    """
    solver = DDIMScheduler.from_config(scheduler.config, clip_sample=False)
    parts: dict[str, Any] = {"unet": unet, "vae": vae, "scheduler": solver}
    parts |= dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    pipe = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    side = resolution // pipe.vae_scale_factor
    drawn: list[Image.Image] = []
    for prompts in text.index.split(min(TOGETHER, pictures_at_once(resolution))):
        noise = [torch.randn((4, side, side), generator=generator_for(seed, "preview", int(p))) for p in prompts]
        made: Any = pipe(
            prompt_embeds=text.embeddings[prompts],
            negative_prompt_embeds=text.embeddings[torch.zeros_like(prompts)],
            latents=torch.stack(noise),
            height=resolution,
            width=resolution,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
        )
        drawn += made.images
    return drawn
