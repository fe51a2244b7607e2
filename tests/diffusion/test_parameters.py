"""What a picture's PNG says of it, read as image tools read it."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.diffusion.draw import decode, denoise, encode, png
from tasks.diffusion.parameters import Picture, parameters
from tasks.diffusion.pipeline import LoadedPipeline, load_base, set_solver
from tasks.sample.draw import draw_snapshot
from tasks.sample.settings import SampleSettings

SETTINGS = SampleSettings(prompts=("a cat", "猫, a house: red"), seeds=(3, 7), num_inference_steps=2, guidance_scale=4)


@pytest.fixture(scope="module")
def loaded(base: str) -> LoadedPipeline:
    return load_base(base, None, "cpu", torch.float32)


def as_tools_read(data: bytes) -> dict[str, str]:
    """`parse_generation_parameters` of AUTOMATIC1111's modules/infotext_utils.py, what of it finds prompt and pairs."""
    pattern = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    *lines, last = Image.open(io.BytesIO(data)).text["parameters"].strip().split("\n")  # pyright: ignore[reportAttributeAccessIssue]
    if len(pattern.findall(last)) < 3:
        lines, last = [*lines, last], ""
    found, negative = {"Prompt": [], "Negative prompt": []}, False
    for line in lines:
        negative = negative or line.startswith("Negative prompt:")
        found["Negative prompt" if negative else "Prompt"].append(line.strip().removeprefix("Negative prompt:").strip())
    pairs = {name: json.loads(value) if value.startswith('"') else value for name, value in pattern.findall(last)}
    return {name: "\n".join(text) for name, text in found.items()} | pairs


def test_a_master_says_what_it_was_drawn_from(loaded, store):
    settings = SETTINGS.model_copy(update={"negative_prompt": "blur", "scheduler": "dpm++2m"})
    samples = draw_snapshot(loaded, 4, settings, store)
    assert [(said["Prompt"], said["Seed"]) for said in (as_tools_read(store.read(s.key)) for s in samples)] == [
        (prompt, str(seed)) for prompt in SETTINGS.prompts for seed in SETTINGS.seeds
    ]
    said = as_tools_read(store.read(samples[-1].key))
    assert said | {"Model hash": ""} == {
        "Prompt": "猫, a house: red", "Negative prompt": "blur", "Steps": "2", "Sampler": "DPM++ 2M", "CFG scale": "4",
        "Seed": "7", "Size": "32x32", "Model hash": "", "Epoch": "4", "Strength": "1", "Version": "wikistyle",
    }  # fmt: skip
    assert said["Model hash"] == loaded.base_identity[len("sha256:") :][:10]


def test_the_words_change_no_pixel_and_are_the_same_bytes_again(loaded, store):
    samples = draw_snapshot(loaded, 4, SETTINGS, store)
    assert draw_snapshot(loaded, 4, SETTINGS, store) == samples
    wanted = [(prompt, seed) for prompt in SETTINGS.prompts for seed in SETTINGS.seeds]
    set_solver(loaded.pipe, SETTINGS.scheduler)
    latents = denoise(loaded.pipe, wanted, encode(loaded.pipe, [*SETTINGS.prompts, ""]), SETTINGS)
    for sample, one in zip(samples, latents, strict=True):
        plain = decode(loaded.pipe, one, "it")
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(store.read(sample.key)))), np.asarray(plain))
        assert Image.open(io.BytesIO(png(plain))).info == {}


def test_a_point_between_two_snapshots_and_a_model_of_the_hub_are_named(loaded):
    there = LoadedPipeline(loaded.pipe, "o/m", "abc", "o/m@abc")
    text = parameters(Picture("a cat", 1, 8, 0.25, since=4), (64, 32), there, SETTINGS, Denoising=0.5)
    data = png(Image.new("RGB", (1, 1)), text)
    said = as_tools_read(data)
    assert (said["Model"], said["Epoch"], said["Since epoch"], said["Strength"]) == ("o/m@abc", "8", "4", "0.25")
    assert said["Denoising"] == "0.5"
    odd = as_tools_read(
        png(Image.new("RGB", (1, 1)), parameters(Picture("a", 1, 2), (1, 1), there, SETTINGS, Odd='a, "b": c'))
    )
    assert odd["Odd"] == 'a, "b": c'


def test_a_prompt_is_encoded_once_for_a_loaded_base(base, store, monkeypatch):
    """The text encoder is frozen: a training's snapshots share it."""
    fresh = load_base(base, None, "cpu", torch.float32)
    asked: list[str] = []
    whole = fresh.pipe.encode_prompt
    monkeypatch.setattr(
        fresh.pipe, "encode_prompt", lambda prompt, *a, **k: asked.append(prompt) or whole(prompt, *a, **k)
    )
    first = draw_snapshot(fresh, 0, SETTINGS, store)
    asked[:] = [prompt for prompt in asked if prompt is not None]  # the pipeline itself, given embeddings
    assert sorted(asked) == sorted([*SETTINGS.prompts, ""])
    assert draw_snapshot(fresh, 0, SETTINGS, store) == first
    assert len([prompt for prompt in asked if prompt is not None]) == 3
