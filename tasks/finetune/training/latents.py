"""What the frozen models say of the data, computed once: latent means and stds, and text embeddings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from tasks.common.rows import Row
from tasks.common.settings import digest
from tasks.finetune.memory.prediction import pictures_at_once
from tasks.finetune.training.data import check_pictures, pixels
from tasks.finetune.training.intact import intact, keep, kept

PROMPTS_AT_ONCE = 64


@dataclass(frozen=True)
class LatentCache:
    """Posterior of each picture, scaled: `mean` and `std` are [N, 4, h, w], already times `scaling_factor`.

    A latent is drawn per step as `mean + std * noise`, so caching loses nothing of the posterior.
    """

    ids: tuple[str, ...]
    mean: torch.Tensor
    std: torch.Tensor


@dataclass(frozen=True)
class TextCache:
    """`embeddings` [U, T, D] of the distinct captions, row 0 of the empty one; `index` picks each picture's row."""

    embeddings: torch.Tensor
    index: torch.Tensor
    truncated: int


@torch.no_grad()
def cache_latents(
    vae: Any, vae_id: str, rows: list[Row], resolution: int, folder: Path, log: Callable[[str], None]
) -> LatentCache:
    """Encode every picture once, in fp32, and keep the result on disk under its content: ids, VAE, resolution.

    A file that is damaged is set aside, and the pictures encoded again.
    Raises DatasetError, before anything is encoded, when pictures do not decode.
    """
    ids = tuple(row.id for row in rows)
    stem = f"latents-{digest([ids, vae_id, resolution])[:16]}"
    for path in kept(folder, stem):
        if not intact(path, log):
            continue
        tensors = load_file(path)
        return LatentCache(ids, tensors["mean"], tensors["std"])
    check_pictures(rows, resolution)
    means, stds = [], []
    size = pictures_at_once(resolution)
    for start in range(0, len(rows), size):
        mean, std = encode(vae, pixels(rows[start : start + size], resolution).to(vae.device))
        means.append(mean.cpu())
        stds.append(std.cpu())
    cache = LatentCache(ids, torch.cat(means).contiguous(), torch.cat(stds).contiguous())
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{stem}.partial"
    save_file({"mean": cache.mean, "std": cache.std}, partial)
    keep(partial, stem)
    return cache


@torch.no_grad()
def encode(vae: Any, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and std [N, 4, h, w] of the posterior of pictures [N, 3, H, W] in [-1, 1], times `scaling_factor`."""
    posterior = vae.encode(pictures).latent_dist
    return posterior.mean * vae.config.scaling_factor, posterior.std * vae.config.scaling_factor


@torch.no_grad()
def cache_text(encoder: CLIPTextModel, tokenizer: CLIPTokenizer, texts: list[str]) -> TextCache:
    """Embed each distinct caption once: padded to the model's length, last hidden state after the final norm,
    no attention mask, as Stable Diffusion v1 does. Captions over the length are cut and counted."""
    distinct = ["", *sorted(set(texts) - {""})]
    length = tokenizer.model_max_length
    embeddings = []
    for start in range(0, len(distinct), PROMPTS_AT_ONCE):
        ids = tokenizer(
            distinct[start : start + PROMPTS_AT_ONCE],
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        embeddings.append(encoder(ids.to(encoder.device))[0].float().cpu())
    too_long = {text for text in distinct if len(tokenizer(text, truncation=False).input_ids) > length}
    row_of = {text: i for i, text in enumerate(distinct)}
    return TextCache(
        torch.cat(embeddings), torch.tensor([row_of[t] for t in texts]), sum(text in too_long for text in texts)
    )
