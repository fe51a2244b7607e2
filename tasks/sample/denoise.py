"""One picture on its way from noise: the latents of every few steps, decoded."""

from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from tasks.common.store import Store
from tasks.diffusion.draw import decode, denoise, encode, initial_noise, png
from tasks.diffusion.pipeline import set_solver
from tasks.sample.settings import SampleSettings


def draw_denoising(pipe: StableDiffusionPipeline, settings: SampleSettings, store: Store) -> tuple[str, ...]:
    """Keys of lossless PNGs: the pure noise, the picture after every `denoising_every` steps, the finished picture.

    Prompt: `settings.filmed_prompt`; seed: the first. Raises ModelError for a broken model.
    """
    set_solver(pipe, settings.scheduler)
    prompt, seed = settings.filmed_prompt, settings.seeds[0]
    filmed = [initial_noise(pipe, seed, settings)]

    def keep(_: Any, step: int, timestep: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if (step + 1) % settings.denoising_every == 0 or step + 1 == settings.num_inference_steps:
            filmed.append(state["latents"])
        return state

    denoise(pipe, [(prompt, seed)], encode(pipe, [prompt, settings.negative_prompt]), settings, keep)
    return tuple(
        store.put(png(decode(pipe, latents[0].to(pipe.device), f'"{prompt}", seed {seed}, frame {i}')))
        for i, latents in enumerate(filmed)
    )
