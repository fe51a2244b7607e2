"""Pictures against diffusers' own pipeline, called plainly with the same noise: the very pixels, or one grey apart."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image

from tasks.common.seeds import generator_for
from tasks.common.store import Store
from tasks.diffusion.draw import encode, initial_noise
from tasks.diffusion.pipeline import load_base, put_in
from tasks.finetune.training.latents import cache_text
from tasks.finetune.training.preview import draw_previews
from tasks.sample.denoise import draw_denoising
from tasks.sample.draw import draw_snapshot
from tasks.sample.settings import SampleSettings
from tests.sample.tiny import snapshot

# A UNet of chance hardly heeds its prompt; guidance and these weights make prompts, steps and seeds tell.
SETTINGS = SampleSettings(
    prompts=("a cat", "a red car"), seeds=(0, 7, 3), negative_prompt="a house", num_inference_steps=5,
    guidance_scale=9.0, batch_size=4,
)  # fmt: skip
# scheduler/scheduler_config.json of the published SD v1, where both solvers take their schedule from.
SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
    "timestep_spacing": "leading",
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no guidance": {"guidance_scale": 1.0},
    "barely guided": {"guidance_scale": 1.5},
    "no negative prompt": {"negative_prompt": ""},
    "dpm++": {"scheduler": "dpm++2m"},
    "another size": {"height": 24, "width": 48},
}


def told_apart(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With cross-attention so strong that a prompt changes its picture."""
    return {name: value * 6 if ".attn2." in name else value for name, value in weights.items()}


@pytest.fixture(scope="module")
def plain(base: str) -> Any:
    """diffusers' pipeline as a stranger would load it, with such weights."""
    pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipe.unet.load_state_dict(
        {name: value.half().float() for name, value in told_apart(pipe.unet.state_dict()).items()}
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def call(pipe: Any, prompt: str, noise: torch.Tensor, settings: SampleSettings, **more: Any) -> Image.Image:
    if settings.scheduler == "ddim":
        pipe.scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False)
    else:
        pipe.scheduler = DPMSolverMultistepScheduler(**SCHEDULE)
    return pipe(
        prompt, negative_prompt=settings.negative_prompt, latents=noise.clone(), height=noise.shape[2] * 4,
        width=noise.shape[3] * 4, num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale, **more,
    ).images[0]  # fmt: skip


def noise_of(seed: int, height: int = 8, width: int = 8) -> torch.Tensor:
    return torch.randn((1, 4, height, width), generator=generator_for(seed, "latents"))


def pixels(picture: Image.Image | bytes) -> np.ndarray:
    opened = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
    return np.asarray(opened.convert("RGB")).astype(int)


def off(found: Image.Image | bytes, wanted: Image.Image | bytes) -> int:
    return int(np.abs(pixels(found) - pixels(wanted)).max())


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_each_picture_is_the_one_diffusers_own_pipeline_draws(option, base, plain, store):
    settings = SETTINGS.model_copy(update=OPTIONS[option])
    loaded = load_base(base, None, "cpu", torch.float32)
    put_in(loaded, snapshot(store, 2, unet=told_apart(loaded.pipe.unet.state_dict())), store)
    samples = draw_snapshot(loaded, 2, settings, store)
    assert [(s.prompt, s.seed) for s in samples] == [(p, s) for p in settings.prompts for s in settings.seeds]
    height, width = (settings.height or 32) // 4, (settings.width or 32) // 4
    wanted = [call(plain, s.prompt, noise_of(s.seed, height, width), settings) for s in samples]
    assert max(off(store.read(s.key), picture) for s, picture in zip(samples, wanted, strict=True)) <= 1
    others = wanted[1:] + wanted[:1]
    assert min(off(one, other) for one, other in zip(wanted, others, strict=True)) > 8  # and they differ
    if option != "no guidance":
        unguided = settings.model_copy(update={"guidance_scale": 1.0})
        assert off(wanted[0], call(plain, samples[0].prompt, noise_of(0, height, width), unguided)) > 2


def test_the_film_is_of_the_latents_diffusers_own_pipeline_goes_through(base, plain, store):
    settings = SETTINGS.model_copy(update={"denoising_every": 2, "denoising_prompt": "a red car"})
    loaded = load_base(base, None, "cpu", torch.float32)
    put_in(loaded, snapshot(store, 2, unet=told_apart(loaded.pipe.unet.state_dict())), store)
    film = [store.read(key) for key in draw_denoising(loaded.pipe, settings, store)]
    seen = [noise_of(0)]
    last = call(
        plain, "a red car", noise_of(0), settings,
        callback_on_step_end=lambda pipe, step, t, state: seen.append(state["latents"].clone()) or state,
    )  # fmt: skip
    assert len(film) == 4  # the noise, after two steps, after four, the picture
    for frame, latents in zip(film, [seen[0], seen[2], seen[4], seen[5]], strict=True):
        with torch.no_grad():
            decoded = plain.vae.decode(latents / 0.18215).sample[0]
        wanted = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
        assert np.abs(pixels(frame) - wanted).max() <= 1
    assert off(film[-1], last) <= 1


def test_previews_are_what_diffusers_own_pipeline_draws_in_twenty_steps(plain):
    """Six prompts, more than are drawn at once; each from the noise of its own place among the prompts."""
    prompts = ["a cat", "a house", "a red car", "a cat", "a red house", "a car"]
    text = cache_text(plain.text_encoder, plain.tokenizer, prompts)
    drawn = draw_previews(plain.unet, plain.vae, plain.scheduler, text, 32, 5)
    settings = SampleSettings(num_inference_steps=20, guidance_scale=7.5)
    assert len(drawn) == 6
    for picture, prompt, row in zip(drawn, prompts, text.index, strict=True):
        noise = torch.randn((4, 8, 8), generator=generator_for(5, "preview", int(row)))[None]
        assert off(picture, call(plain, prompt, noise, settings)) <= 1
    assert off(drawn[0], drawn[3]) == 0
    assert off(drawn[0], drawn[1]) > 8


def test_prompts_are_embedded_once_each_as_the_pipeline_does(base, plain):
    loaded = load_base(base, None, "cpu", torch.float32)
    found = encode(loaded.pipe, ["a cat", "", "a red car", "a cat"])
    assert list(found) == ["a cat", "", "a red car"]
    for prompt, embedding in found.items():
        wanted, negative = plain.encode_prompt(prompt, "cpu", 1, True, negative_prompt="")
        torch.testing.assert_close(embedding, wanted)
        torch.testing.assert_close(found[""], negative)


def test_the_noise_is_of_the_seed_and_the_size_alone(base, store: Store):
    loaded = load_base(base, None, "cpu", torch.float32)
    assert torch.equal(initial_noise(loaded.pipe, 7, SETTINGS), noise_of(7))
    wide = SETTINGS.model_copy(update={"height": 16, "width": 40})
    assert torch.equal(initial_noise(loaded.pipe, 7, wide), noise_of(7, 4, 10))
