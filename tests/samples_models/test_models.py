"""The shipped models are small, safe to load, and really draw, see and speak."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from samples.models.things import caption_of

MODELS = Path(__file__).parents[2] / "samples" / "models"
WIKI = Path(__file__).parents[2] / "samples" / "wiki"
THINGS = ("a grinning face", "a cat face", "a fox", "a hamburger", "a robot", "a pig", "a house", "a red apple")


def wiki_drawings(count: int) -> list[tuple[str, Image.Image]]:
    """(caption of its title, picture on white) of square PNG uploads of the sample wiki, evenly through the list."""
    found = []
    for row in json.loads((WIKI / "wiki.json").read_text())["files"]:
        if row["mime"] == "image/png" and row["width"] == row["height"] >= 200 and row["file"].endswith(".png"):
            drawing = Image.open(WIKI / "files" / row["file"]).convert("RGBA")
            flat = Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing).convert("RGB")
            found.append((caption_of(row["title"].removeprefix("File:").removesuffix(".png")), flat))
    return found[:: len(found) // count][:count]


def test_all_of_them_are_safetensors_of_40_mb_at_most():
    weights = list(MODELS.rglob("*.safetensors"))
    assert {p.parent.name for p in weights} == {"unet", "vae", "text_encoder", "clip", "blip"}
    assert sum(p.stat().st_size for p in weights) <= 40e6
    for kind in ("*.bin", "*.pt", "*.ckpt", "*.pkl"):
        assert not list(MODELS.rglob(kind))
    for name in ("base", "clip", "blip"):
        assert "## Measured" in (MODELS / name / "README.md").read_text()


@pytest.fixture(scope="module")
def clip():
    from transformers import CLIPModel, CLIPProcessor

    model: Any = CLIPModel.from_pretrained(MODELS / "clip")
    model.float().eval()
    processor: Any = CLIPProcessor.from_pretrained(MODELS / "clip")

    def rank(images: list[Image.Image], names: list[str]) -> torch.Tensor:
        inputs = processor(text=names, images=images, padding="max_length", return_tensors="pt")
        with torch.no_grad():
            return model(**inputs).logits_per_image

    return rank


@pytest.mark.slow
def test_the_base_draws_what_it_is_asked_for(clip):
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(MODELS / "base", torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(0) for _ in THINGS]
    drawn = pipeline(list(THINGS), guidance_scale=4.0, num_inference_steps=20, generator=generators, output_type="np")
    pictures = [Image.fromarray((image * 255).astype(np.uint8)) for image in drawn.images]
    best = clip(pictures, list(THINGS)).argmax(dim=1).tolist()
    assert sum(i == b for i, b in enumerate(best)) >= 6, [THINGS[b] for b in best]


def test_clip_knows_drawings_of_a_style_it_never_saw(clip):
    drawings = wiki_drawings(40)
    names = sorted({caption for caption, _ in drawings})
    best = clip([image for _, image in drawings], names).topk(5).indices.tolist()
    right = sum(names.index(caption) in row for (caption, _), row in zip(drawings, best, strict=True))
    assert right >= 16, f"{right} of {len(drawings)}"


def test_blip_names_the_things_on_the_wiki(tmp_path, monkeypatch):
    from flows.common.settings import load_profile, located
    from samples.models.evaluate import head_noun
    from tasks.caption.captioner import caption_each
    from tasks.common.store import Store

    store, keys = Store(str(tmp_path)), {}
    for caption, image in wiki_drawings(40):
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=95)
        keys[store.put(jpeg.getvalue())] = caption
    said = [caption for _, caption in caption_each(tuple(keys), located(load_profile("sample")).caption, store)]
    named = sum(head_noun(keys[caption.key]) in caption.text.split() for caption in said)
    assert named >= len(said) // 2, [(keys[c.key], c.text) for c in said]
    assert not any(caption.reason for caption in said)
