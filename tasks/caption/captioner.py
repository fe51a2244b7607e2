"""A BLIP model that says what is in a picture."""

import functools
import gc
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

from tasks.caption.cleanup import clean, flaw
from tasks.caption.records import Caption
from tasks.caption.settings import CaptionSettings
from tasks.common.allocator import keep_freed_memory
from tasks.common.errors import ModelError
from tasks.common.store import Store


@dataclass(frozen=True)
class Captioner:
    """A loaded model with its image processor, tokenizer and device."""

    model: Any
    images: Any
    tokenizer: Any
    device: str


@functools.lru_cache(maxsize=1)
def load(model: str, revision: str | None, device: str) -> Captioner:
    """Load from a folder or from the hub at a pinned revision; safetensors only, float32. Kept for the process.

    Raises ModelError in one line. `release` frees the memory.
    """
    keep_freed_memory()
    local = Path(model).is_dir()
    pinned: Any = {} if local else {"revision": revision}
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        blip: Any = BlipForConditionalGeneration.from_pretrained(
            model, use_safetensors=True, dtype=torch.float32, **pinned
        )
        images = BlipImageProcessorPil.from_pretrained(model, **pinned)
        tokenizer = BertTokenizer.from_pretrained(model, **pinned)
        blip = blip.to(device).eval()
    except Exception as error:  # the libraries raise OSError, ValueError, SafetensorError and more
        why = str(error).strip().split("\n")[0] or type(error).__name__
        if local:
            raise ModelError(f"caption model folder {model} can't be loaded ({why}); copy or train it again") from error
        raise ModelError(
            f"caption model {model}@{revision} can't be loaded (offline?: {why}); "
            f"pass a folder or download it first with: hf download {model} --revision {revision}"
        ) from error
    return Captioner(blip, images, tokenizer, device)


def release() -> None:
    """Let go of the loaded model; its memory on a GPU is another process's to use. It is loaded again when needed."""
    load.cache_clear()
    gc.collect()  # a module may be part of a cycle, which would keep its weights until some later time
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def describe(
    captioner: Captioner, pictures: Sequence[Image.Image], settings: CaptionSettings, batch_size: int | None = None
) -> list[str]:
    """What the model says of each RGB picture (any size), prompt prefix included.

    Deterministic: beam search in float32 without sampling, and every picture is resized to the model's own size, so a
    caption doesn't depend on the pictures beside it. When memory runs out, the batch is halved.
    """
    size = batch_size or settings.batch_size
    said: list[str] = []
    while len(said) < len(pictures):
        some = pictures[len(said) : len(said) + size]
        try:
            said += _generate(captioner, some, settings)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if len(some) == 1:
                raise ModelError("caption model doesn't fit in GPU memory with one image; set device to cpu") from None
            size = len(some) // 2
    return said


@torch.inference_mode()
def _generate(captioner: Captioner, pictures: Sequence[Image.Image], settings: CaptionSettings) -> list[str]:
    inputs = captioner.images(images=list(pictures), return_tensors="pt")["pixel_values"].to(captioner.device)
    words = {}
    if settings.prompt_prefix:
        words = captioner.tokenizer([settings.prompt_prefix] * len(pictures), return_tensors="pt")
        words = {name: words[name].to(captioner.device) for name in ("input_ids", "attention_mask")}
    tokens = captioner.model.generate(
        pixel_values=inputs,
        **words,
        do_sample=False,
        num_beams=settings.num_beams,
        min_new_tokens=settings.min_new_tokens,
        max_new_tokens=settings.max_new_tokens,
        repetition_penalty=settings.repetition_penalty,
        no_repeat_ngram_size=settings.no_repeat_ngram_size,
    )
    # the first token is the decoder's own start mark, which a BERT vocabulary needn't know
    return [said.strip() for said in captioner.tokenizer.batch_decode(tokens[:, 1:], skip_special_tokens=True)]


def caption_each(keys: Sequence[str], settings: CaptionSettings, store: Store) -> Iterator[tuple[str, Caption]]:
    """Each JPEG in the store with its caption, in the order of `keys`. A caption of no use carries the reason."""
    captioner = load(settings.model, settings.revision, settings.device)
    for start in range(0, len(keys), settings.batch_size):
        some = keys[start : start + settings.batch_size]
        pictures = [Image.open(io.BytesIO(store.read(key))).convert("RGB") for key in some]
        for key, raw in zip(some, describe(captioner, pictures, settings), strict=True):
            text = clean(raw, settings.prompt_prefix)
            yield key, Caption(key=key, text=text, raw=raw, reason=flaw(text))
