"""Draw pictures with a loaded pipeline: the same noise for the same seed, so that what differs is the model."""

import io
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from tasks.common.errors import ModelError
from tasks.common.seeds import generator_for

Embeddings = dict[str, torch.Tensor]


class DrawingSettings(Protocol):
    """What of a stage's settings says how a picture is drawn. Height and width in px; None is the model's own size."""

    @property
    def negative_prompt(self) -> str: ...
    @property
    def num_inference_steps(self) -> int: ...
    @property
    def guidance_scale(self) -> float: ...
    @property
    def height(self) -> int | None: ...
    @property
    def width(self) -> int | None: ...


# The text encoder is frozen: what a prompt is to one that is loaded stays the same for all snapshots of a training.
_ENCODED: WeakKeyDictionary[torch.nn.Module, Embeddings] = WeakKeyDictionary()


@torch.no_grad()
def encode(pipe: StableDiffusionPipeline, prompts: list[str]) -> Embeddings:
    """Each distinct prompt's text embedding, [1, tokens, width], by itself, and once for a loaded text encoder."""
    known = _ENCODED.setdefault(pipe.text_encoder, {})
    for prompt in prompts:
        if prompt not in known:
            known[prompt] = pipe.encode_prompt(prompt, pipe.device, 1, do_classifier_free_guidance=False)[0]
    return {prompt: known[prompt] for prompt in prompts}


def initial_noise(pipe: StableDiffusionPipeline, seed: int, settings: DrawingSettings) -> torch.Tensor:
    """float32 [1, 4, h, w] on the processor: a function of the seed and the size alone, not of device or batch."""
    own = pipe.unet.config.sample_size * pipe.vae_scale_factor
    height, width = settings.height or own, settings.width or own
    shape = (1, pipe.unet.config.in_channels, height // pipe.vae_scale_factor, width // pipe.vae_scale_factor)
    return torch.randn(shape, generator=generator_for(seed, "latents"))


def denoise(
    pipe: StableDiffusionPipeline,
    batch: list[tuple[str, int]],
    embeddings: Embeddings,
    settings: DrawingSettings,
    each_step: Callable[..., dict[str, torch.Tensor]] | None = None,
) -> torch.Tensor:
    """Latents [N, 4, h, w] of a batch of (prompt, seed). `each_step` is diffusers' `callback_on_step_end`."""
    noise = torch.cat([initial_noise(pipe, seed, settings) for _, seed in batch])
    negative = embeddings[settings.negative_prompt].repeat(len(batch), 1, 1)
    drawn: Any = pipe(
        prompt_embeds=torch.cat([embeddings[prompt] for prompt, _ in batch]),
        negative_prompt_embeds=negative if settings.guidance_scale > 1 else None,
        latents=noise.to(pipe.device, pipe.unet.dtype),
        height=noise.shape[2] * pipe.vae_scale_factor,
        width=noise.shape[3] * pipe.vae_scale_factor,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        eta=0.0,
        output_type="latent",
        callback_on_step_end=each_step,  # pyright: ignore[reportArgumentType]
    )
    return drawn.images


def redraw(
    pipe: StableDiffusionPipeline,
    picture: Image.Image,
    share: float,
    asked: tuple[str, int],
    embeddings: Embeddings,
    settings: DrawingSettings,
) -> torch.Tensor:
    """Latents [1, 4, h, w] that begin at a picture, fitted to the size, under `share` (0 to 1) of the noise (SDEdit,
    arXiv 2108.01073), by diffusers' own pipeline. The pipeline must be in fp32, as the VAE is."""
    (prompt, seed), vae_scale = asked, pipe.vae_scale_factor
    height, width = (side * vae_scale for side in initial_noise(pipe, seed, settings).shape[2:])
    pipeline: Any = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        image=ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS),
        strength=share,
        prompt_embeds=embeddings[prompt],
        negative_prompt_embeds=embeddings[settings.negative_prompt] if settings.guidance_scale > 1 else None,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        generator=generator_for(seed, "redraw"),
        eta=0.0,
        output_type="latent",
    ).images


@torch.no_grad()
def decode(pipe: StableDiffusionPipeline, latents: torch.Tensor, what: str) -> Image.Image:
    """The RGB picture of one picture's latents [4, h, w]. Raises ModelError naming `what` if it isn't finite."""
    vae: Any = pipe.vae
    pixels = vae.decode(latents[None].to(vae.dtype) / vae.config.scaling_factor).sample
    if not torch.isfinite(pixels).all():
        raise ModelError(
            f"the picture of {what} isn't finite; the weights are broken: train with a lower learning rate"
        )
    pictures: Any = pipe.image_processor.postprocess(pixels)
    return pictures[0]


def png(picture: Image.Image, parameters: str = "") -> bytes:
    """Lossless bytes that depend on the pixels alone, and on the text of the chunk `parameters`: no time."""
    data, info = io.BytesIO(), PngInfo()
    if parameters:
        info.add_text("parameters", parameters)  # as iTXt where Latin-1 does not do
    picture.convert("RGB").save(data, "PNG", pnginfo=info)
    return data.getvalue()
