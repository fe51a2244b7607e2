"""Stable Diffusion v1's true architectures, from their published configurations, with random weights: no download."""

# diffusers types its configurations as their defaults.
# pyright: reportArgumentType=false

import json
from pathlib import Path
from typing import Any

import torch

UNET = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "projection_dim": 768,
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "skip_prk_steps": True,
    "steps_offset": 1,
}


def write_random_base(folder: Path, seed: int = 0) -> None:
    """A pipeline folder like the published one, in fp16 (2.1 GB), that knows nothing."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    parts: list[Any] = [AutoencoderKL(**VAE), CLIPTextModel(CLIPTextConfig(**TEXT))]
    vae, text = (part.half() for part in parts)
    unet = UNet2DConditionModel(**UNET).half()  # type: ignore[call-arg]
    pipeline = StableDiffusionPipeline(
        vae,
        text,
        _letters(folder / "letters"),
        unet,
        PNDMScheduler(**SCHEDULER),
        None,
        None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)


def _letters(folder: Path) -> Any:
    """CLIP's tokenizer without its merges: one token a letter, padded to 77 as the published one."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    vocab = {token: i for i, token in enumerate([*letters, *(f"{letter}</w>" for letter in letters)])}
    vocab |= {"<|startoftext|>": TEXT["bos_token_id"], "<|endoftext|>": TEXT["eos_token_id"]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=TEXT["max_position_embeddings"])
