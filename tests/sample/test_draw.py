"""What a picture depends on (prompt, seed, weights) and what it doesn't (batch, time, earlier snapshots)."""

import io
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file

from tasks.common.errors import ModelError
from tasks.common.records import Sample
from tasks.common.store import Store
from tasks.diffusion.draw import png
from tasks.diffusion.pipeline import LoadedPipeline, best_device, load_base, put_in, set_solver
from tasks.sample.denoise import draw_denoising
from tasks.sample.draw import draw_snapshot
from tasks.sample.settings import SampleSettings
from tests.sample.tiny import snapshot

SETTINGS = SampleSettings(prompts=("a cat", "a red car"), seeds=(0, 7), num_inference_steps=4, batch_size=4)


@pytest.fixture(scope="module")
def loaded(base: str) -> LoadedPipeline:
    return load_base(base, None, "cpu", torch.float32)


def pixels(store: Store, key: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(store.read(key)))).astype(int)


def keys(samples: tuple[Sample, ...]) -> list[str]:
    return [sample.key for sample in samples]


def other_weights(loaded: LoadedPipeline) -> dict[str, torch.Tensor]:
    return {name: value * 1.5 for name, value in loaded.pipe.unet.state_dict().items()}


def test_each_prompt_and_seed_gives_one_picture_of_the_models_size_and_the_same_bytes_again(loaded, store):
    finished = []
    samples = draw_snapshot(loaded, 2, SETTINGS, store, finished.append)
    assert [(s.prompt, s.seed, s.epoch) for s in samples] == [
        ("a cat", 0, 2),
        ("a cat", 7, 2),
        ("a red car", 0, 2),
        ("a red car", 7, 2),
    ]
    assert len(set(keys(samples))) == 4
    assert sum(finished) == 4
    assert pixels(store, samples[0].key).shape == (32, 32, 3)
    assert keys(draw_snapshot(loaded, 2, SETTINGS, store)) == keys(samples)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++2m"])
def test_a_picture_does_not_depend_on_what_else_is_in_its_batch(loaded, store, scheduler):
    settings = SETTINGS.model_copy(update={"scheduler": scheduler})
    together = draw_snapshot(loaded, 0, settings, store)
    alone = draw_snapshot(loaded, 0, settings.model_copy(update={"batch_size": 1}), store)
    last = draw_snapshot(loaded, 0, settings.model_copy(update={"prompts": ("a red car",), "seeds": (7,)}), store)
    for one, other in zip([*together, together[-1]], [*alone, *last], strict=True):
        assert np.abs(pixels(store, one.key) - pixels(store, other.key)).max() <= 1


def test_without_guidance_the_negative_prompt_changes_nothing(loaded, store):
    plain = SETTINGS.model_copy(update={"guidance_scale": 1.0})
    steered = plain.model_copy(update={"negative_prompt": "a house"})
    assert keys(draw_snapshot(loaded, 0, plain, store)) == keys(draw_snapshot(loaded, 0, steered, store))
    guided = SETTINGS.model_copy(update={"negative_prompt": "a house"})
    assert keys(draw_snapshot(loaded, 0, guided, store)) != keys(draw_snapshot(loaded, 0, SETTINGS, store))


def test_size_can_be_set(loaded, store):
    wide = SETTINGS.model_copy(update={"width": 48, "height": 16})
    assert pixels(store, draw_snapshot(loaded, 0, wide, store)[0].key).shape == (16, 48, 3)


def test_snapshots_swap_in_and_the_base_model_comes_back(base, store):
    loaded = load_base(base, None, "cpu", torch.float32)
    first = draw_snapshot(loaded, 0, SETTINGS, store)
    decoder = {
        name: value * 1.2
        for name, value in loaded.pipe.vae.state_dict().items()
        if name.startswith(("decoder.", "post_quant_conv."))
    }
    encoder = {name: value.clone() for name, value in loaded.pipe.vae.encoder.state_dict().items()}
    put_in(loaded, snapshot(store, 2, unet=other_weights(loaded), decoder=decoder), store)
    assert set(keys(draw_snapshot(loaded, 0, SETTINGS, store))).isdisjoint(keys(first))
    assert all(torch.equal(encoder[name], value) for name, value in loaded.pipe.vae.encoder.state_dict().items())
    put_in(loaded, snapshot(store, 0), store)
    assert keys(draw_snapshot(loaded, 0, SETTINGS, store)) == keys(first)


def test_the_denoising_film_goes_from_noise_to_the_very_picture(loaded, store):
    settings = SETTINGS.model_copy(update={"num_inference_steps": 5, "denoising_every": 2, "denoising_prompt": "a cat"})
    film = draw_denoising(loaded.pipe, settings, store)
    assert len(film) == 4  # noise, steps 2 and 4, the last step
    assert len(set(film)) == 4
    picture = draw_snapshot(loaded, 0, settings, store)[0]
    assert np.abs(pixels(store, film[-1]) - pixels(store, picture.key)).max() <= 1


def test_the_denoising_film_takes_every_third_step_and_the_solver_it_is_told(loaded, store):
    settings = SETTINGS.model_copy(
        update={"num_inference_steps": 7, "denoising_every": 3, "prompts": ("a cat",), "seeds": (0,)}
    )
    assert len(draw_denoising(loaded.pipe, settings, store)) == 4  # noise, steps 3, 6 and 7
    for scheduler, kind in (("dpm++2m", DPMSolverMultistepScheduler), ("ddim", DDIMScheduler)):
        solver = settings.model_copy(update={"scheduler": scheduler})
        film = draw_denoising(loaded.pipe, solver, store)
        assert isinstance(loaded.pipe.scheduler, kind)
        picture = draw_snapshot(loaded, 0, solver, store)[0]
        assert np.abs(pixels(store, film[-1]) - pixels(store, picture.key)).max() <= 1


def test_weights_that_do_not_fit_or_are_broken_say_so(base, store):
    loaded = load_base(base, None, "cpu", torch.float32)
    broken = snapshot(store, 4, unet={name: value * float("nan") for name, value in other_weights(loaded).items()})
    with pytest.raises(ModelError, match=r"the UNet of epoch 2 does not fit"):
        put_in(loaded, snapshot(store, 2, unet={"stray": torch.zeros(1)}), store)
    put_in(loaded, broken, store)
    with pytest.raises(ModelError, match=r'"a cat", seed 0, epoch 4 isn\'t finite'):
        draw_snapshot(loaded, 4, SETTINGS, store)


def test_weights_already_in_place_are_not_read_again(base, store):
    loaded = load_base(base, None, "cpu", torch.float32)
    first = snapshot(store, 2, unet=other_weights(loaded))
    put_in(loaded, first, store)
    kept = loaded.pipe.unet.state_dict()["conv_in.weight"].clone()
    assert first.unet
    store.path(first.unet.key).unlink()
    put_in(loaded, first, store)
    assert torch.equal(loaded.pipe.unet.state_dict()["conv_in.weight"], kept)
    assert (loaded.unet, loaded.decoder) == (first.unet.key, None)


def test_the_unet_is_loaded_in_the_precision_asked_for_and_the_vae_in_fp32(base):
    loaded = load_base(base, None, "cpu", torch.bfloat16)
    assert loaded.pipe.unet.dtype == loaded.pipe.text_encoder.dtype == torch.bfloat16
    assert loaded.pipe.vae.dtype == torch.float32
    assert loaded.pipe.safety_checker is None
    assert (loaded.base_model, loaded.base_revision, loaded.unet, loaded.decoder) == (base, None, None, None)
    assert loaded.pipe._progress_bar_config == {"disable": True}


def test_a_gpu_draws_in_fp16_and_a_processor_in_fp32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert best_device() == ("cuda", torch.float16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_device() == ("cpu", torch.float32)


def test_weights_come_from_safetensors_alone(base, tmp_path):
    """A pickle can run a stranger's code."""
    shutil.copytree(base, tmp_path / "base")
    weights = tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelError, match="can't be loaded"):
        load_base(str(tmp_path / "base"), None, "cpu", torch.float32)


def test_a_solver_keeps_the_schedule_of_the_base_and_clips_nothing(base):
    loaded = load_base(base, None, "cpu", torch.float32)
    beta_end = 0.0123
    loaded.pipe.scheduler = DDIMScheduler(beta_end=beta_end, prediction_type="v_prediction", clip_sample=True)
    set_solver(loaded.pipe, "ddim")
    assert isinstance(loaded.pipe.scheduler, DDIMScheduler)
    assert loaded.pipe.scheduler.config["clip_sample"] is False
    assert loaded.pipe.scheduler.config["beta_end"] == beta_end
    set_solver(loaded.pipe, "dpm++2m")
    solver = loaded.pipe.scheduler
    assert isinstance(solver, DPMSolverMultistepScheduler)
    assert (solver.config["algorithm_type"], solver.config["solver_order"]) == ("dpmsolver++", 2)
    assert (solver.config["beta_end"], solver.config["prediction_type"]) == (beta_end, "v_prediction")


def test_a_png_is_its_pixels_alone():
    plain = Image.new("RGBA", (4, 4), (1, 2, 3, 255))
    marked = plain.copy()
    marked.info["comment"] = "drawn on a Tuesday"
    assert png(marked) == png(plain)
    opened = Image.open(io.BytesIO(png(plain)))
    assert (opened.format, opened.mode, opened.getpixel((0, 0))) == ("PNG", "RGB", (1, 2, 3))


def test_a_base_model_that_cannot_be_loaded_is_named_in_one_line(tmp_path):
    with pytest.raises(ModelError, match="can't be loaded") as caught:
        load_base(str(tmp_path / "nowhere"), None, "cpu", torch.float32)
    assert "nowhere" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"prompts": ()}, {"prompts": ("a", "a")}, {"prompts": (" ",)}, {"seeds": (1, 1)}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        SampleSettings(**wrong)
