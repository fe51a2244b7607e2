"""Measure the trained sample models; every figure on their cards comes from here.

`python -m samples.models.evaluate` prints them as JSON and writes the contact sheet of the base model.
"""

# diffusers and transformers annotate their models' arguments and outputs too narrowly.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportOperatorIssue=false

import itertools
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor, CLIPModel, CLIPTokenizer

from samples.models import clip as clip_model
from samples.models.drawings import TRAINING_STYLES, Drawings, fetch_packages, load_drawings
from samples.models.things import Thing
from samples.models.vae import psnr, to_tensor
from tasks.common.seeds import generator_for

MODELS = Path(__file__).parent
NAMES_DRAWN, SEEDS, GUIDANCE, STEPS = 50, 4, 4.0, 25


def head_noun(caption: str) -> str:
    """The word a caption is about: the last before a preposition ("a woman in a tuxedo" → "woman")."""
    words = caption.split()
    for i, word in enumerate(words):
        if word in ("with", "in", "on", "of", "over", "holding", "blowing", "screaming", "savoring", "-") and i:
            return words[i - 1]
    return words[-1]


@torch.no_grad()
def caption_drawings(blip: BlipForConditionalGeneration, processor: BlipProcessor, pixels: np.ndarray) -> list[str]:
    """Captions by beam search, the sample profile's settings, of uint8 [N, 64, 64, 3]."""
    texts = []
    for start in range(0, len(pixels), 32):
        images = [Image.fromarray(p) for p in pixels[start : start + 32]]
        inputs = processor(images=images, return_tensors="pt")
        out = blip.generate(
            pixel_values=inputs.pixel_values, num_beams=3, max_new_tokens=14, min_new_tokens=2,
            repetition_penalty=1.1, no_repeat_ngram_size=3,
        )  # fmt: skip
        texts += [text.replace(" - ", "-") for text in processor.batch_decode(out, skip_special_tokens=True)]
    return texts


def measure_blip(folder: Path, drawings: Drawings) -> dict[str, float]:
    """Shares of OpenMoji drawings whose caption holds the head noun, stutters, or is too short."""
    blip = BlipForConditionalGeneration.from_pretrained(folder).float().eval()
    processor = BlipProcessor.from_pretrained(folder)
    figures: dict[str, float] = {}
    for kind, held in (("seen", False), ("held_out", True)):
        part = drawings.where(held_out=held)
        texts = caption_drawings(blip, processor, part.pixels)
        words = [text.replace(".", "").split() for text in texts]
        nouns = [head_noun(thing.caption) for thing in part.things]
        figures[f"head_noun_{kind}"] = _share([n in w for n, w in zip(nouns, words, strict=True)])
        figures[f"exact_{kind}"] = _share([t == th.caption for t, th in zip(texts, part.things, strict=True)])
        if not held:
            figures["stutter"] = _share([any(a == b for a, b in itertools.pairwise(w)) for w in words])
            figures["under_2_words"] = _share([len(w) < 2 for w in words])
    return figures


def _share(flags: list[bool]) -> float:
    return round(sum(flags) / len(flags), 4)


def names_to_draw(things: list[Thing]) -> list[Thing]:
    """50 things seen in training, evenly through the list."""
    seen = [thing for thing in things if not thing.held_out]
    return [seen[i * len(seen) // NAMES_DRAWN] for i in range(NAMES_DRAWN)]


def draw(base: Path, captions: list[str]) -> np.ndarray:
    """uint8 [captions * 4, 64, 64, 3]: four seeds of each, at the card's guidance and steps."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pictures = []
    for caption in captions:
        generators = [generator_for(seed, "evaluate") for seed in range(SEEDS)]
        out = pipeline([caption] * SEEDS, guidance_scale=GUIDANCE, num_inference_steps=STEPS, generator=generators,
                       output_type="np")  # fmt: skip
        pictures.append((out.images * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def contact_sheet(pictures: np.ndarray, columns: int) -> Image.Image:
    """The pictures in rows of `columns`."""
    rows = [np.concatenate(list(pictures[i : i + columns]), axis=1) for i in range(0, len(pictures), columns)]
    return Image.fromarray(np.concatenate(rows))


def measure(packages: dict[str, Path], models: Path, base: Path) -> dict[str, dict[str, float]]:
    """All figures of all models; writes `contact-sheet.png` into the base's folder."""
    own = load_drawings(packages, TRAINING_STYLES)
    other = load_drawings(packages, ("openmoji",))
    vae = AutoencoderKL.from_pretrained(base / "vae").float().eval()
    figures: dict[str, dict[str, float]] = {
        "vae": {
            "psnr_held_out_own_styles": round(psnr(vae, to_tensor(own.where(True).pixels)), 2),
            "psnr_openmoji": round(psnr(vae, to_tensor(other.pixels)), 2),
        }
    }
    clip = CLIPModel.from_pretrained(models / "clip").float().eval()
    tokenizer = CLIPTokenizer.from_pretrained(models / "clip")
    names = [thing.caption for thing in other.things]
    seen, unseen = other.where(False), other.where(True)

    def share(pixels: np.ndarray, asked: list[str], k: int) -> float:
        return round(clip_model.retrieval(clip, tokenizer, to_tensor(pixels), asked, names, k), 4)

    figures["clip"] = {
        "names": len(names),
        "openmoji_seen_top1": share(seen.pixels, [t.caption for t in seen.things], 1),
        "openmoji_seen_top5": share(seen.pixels, [t.caption for t in seen.things], 5),
        "openmoji_held_out_top5": share(unseen.pixels, [t.caption for t in unseen.things], 5),
    }
    figures["blip"] = measure_blip(models / "blip", other)
    drawn = names_to_draw(list(other.things))
    pictures = draw(base, [thing.caption for thing in drawn])
    contact_sheet(pictures, 20).save(base / "contact-sheet.png", optimize=True)
    asked = [thing.caption for thing in drawn for _ in range(SEEDS)]
    figures["base"] = {
        "pictures": len(pictures),
        "clip_top1": share(pictures, asked, 1),
        "clip_top10": share(pictures, asked, 10),
    }
    return figures


def main() -> None:
    figures = measure(fetch_packages(Path(".work/npm")), MODELS, MODELS / "base")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
