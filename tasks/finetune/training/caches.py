"""Everything the frozen models have to say of the data, before the training starts; they are freed after it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from tasks.common.errors import ModelError
from tasks.common.model_id import model_identity
from tasks.common.rows import Row
from tasks.diffusion.loading import load_part
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.latents import TextCache, cache_latents, cache_text
from tasks.finetune.training.objective import TrainingData


def cache_all(
    trained: list[Row], held_out: list[Row], settings: FinetuneSettings, folder: Path, accelerator: Accelerator,
    log: Callable[[str], None],
) -> TrainingData:  # fmt: skip
    """Latents and text of all pictures. The first process encodes, the others read what it kept.

    Raises DatasetError for pictures that do not decode, ModelError for a base that cannot be used.
    """
    if accelerator.is_main_process:
        latents = _latents(trained, held_out, settings, folder, accelerator, log)
        accelerator.wait_for_everyone()
    else:
        accelerator.wait_for_everyone()
        latents = _latents(trained, held_out, settings, folder, accelerator, log)
    text, held_text, previews = _text(trained, held_out, settings, accelerator, log)
    return TrainingData(latents[0], text, latents[1], held_text, previews)


def _latents(
    trained: list[Row], held_out: list[Row], settings: FinetuneSettings, folder: Path, accelerator: Accelerator,
    log: Callable[[str], None],
) -> tuple[Any, Any]:  # fmt: skip
    base = (settings.base_model, settings.revision)
    vae: Any = load_part("vae", *base)
    vae.eval().requires_grad_(False).to(accelerator.device)
    return tuple(
        cache_latents(vae, model_identity(*base), rows, settings.resolution, folder, log) if rows else None
        for rows in (trained, held_out)
    )  # type: ignore[return-value]


def _text(
    trained: list[Row], held_out: list[Row], settings: FinetuneSettings, accelerator: Accelerator,
    log: Callable[[str], None],
) -> tuple[TextCache, TextCache | None, TextCache | None]:  # fmt: skip
    base = (settings.base_model, settings.revision)
    tokenizer: Any = load_part("tokenizer", *base)
    encoder: Any = load_part("text_encoder", *base)
    encoder.eval().requires_grad_(False).to(accelerator.device)
    if encoder.config.max_position_embeddings < tokenizer.model_max_length:
        raise ModelError(
            f"base model {settings.base_model}: its tokenizer makes {tokenizer.model_max_length} tokens, its text "
            f"encoder takes {encoder.config.max_position_embeddings}; give a base whose parts belong together"
        )
    text = cache_text(encoder, tokenizer, [row.text for row in trained])
    if text.truncated:
        log(f"{text.truncated} of {len(trained)} captions are over {tokenizer.model_max_length} tokens and were cut")
    held_text = cache_text(encoder, tokenizer, [row.text for row in held_out]) if held_out else None
    prompts = list(settings.validation_prompts)
    return text, held_text, cache_text(encoder, tokenizer, prompts) if prompts else None
