"""CLIP: what a picture shows, and how well a picture goes with a text, as vectors of length 1."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from tasks.common.errors import ModelError, first_line

AT_ONCE = 32


@dataclass(frozen=True)
class Clip:
    """A loaded CLIP with its image processor and tokenizer."""

    model: Any
    images: Any
    tokenizer: Any
    device: str


@functools.lru_cache(maxsize=1)
def load_clip(model: str, revision: str | None, device: str) -> Clip:
    """Load a folder or a hub id at a pinned revision; safetensors only, float32. Raises ModelError in one line."""
    pinned: Any = {} if Path(model).is_dir() else {"revision": revision}
    try:
        clip: Any = CLIPModel.from_pretrained(model, use_safetensors=True, dtype=torch.float32, **pinned)
        images = CLIPImageProcessorPil.from_pretrained(model, **pinned)
        tokenizer = CLIPTokenizer.from_pretrained(model, **pinned)
    except Exception as error:  # offline, no such model, damaged files: one remedy for all
        raise ModelError(
            f"measure.clip_model {model} can't be loaded ({first_line(error)}); "
            "check the id and revision, connect to the hub, or give the folder of a CLIP model"
        ) from error
    return Clip(clip.to(device).eval(), images, tokenizer, device)


@torch.inference_mode()
def embed_pictures(clip: Clip, pictures: Sequence[Image.Image]) -> np.ndarray:
    """float32 [n, d], of length 1. Each picture is first fitted whole into a white square."""
    vectors = []
    for start in range(0, len(pictures), AT_ONCE):
        some = [picture.convert("RGB") for picture in pictures[start : start + AT_ONCE]]
        pixels = clip.images(images=some, return_tensors="pt")["pixel_values"].to(clip.device)
        vectors.append(_unit(clip.model.visual_projection(clip.model.vision_model(pixel_values=pixels).pooler_output)))
    return np.concatenate(vectors)


@torch.inference_mode()
def embed_texts(clip: Clip, texts: Sequence[str]) -> np.ndarray:
    """float32 [n, d], of length 1. Texts longer than the model takes are cut."""
    vectors = []
    for start in range(0, len(texts), AT_ONCE):
        tokens = clip.tokenizer(
            list(texts[start : start + AT_ONCE]), padding=True, truncation=True,
            max_length=clip.model.config.text_config.max_position_embeddings, return_tensors="pt",
        ).to(clip.device)  # fmt: skip
        vectors.append(_unit(clip.model.text_projection(clip.model.text_model(**tokens).pooler_output)))
    return np.concatenate(vectors)


def _unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
