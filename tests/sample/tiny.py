"""A random Stable Diffusion v1 of the real classes, small enough to draw in a test, and snapshots of it."""

# diffusers types its configurations as their defaults.
# pyright: reportArgumentType=false

from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save
from transformers import CLIPTextConfig, CLIPTextModel

from samples.models.clip import train_tokenizer
from tasks.common.records import Snapshot, StoredFile
from tasks.common.store import Store


def save_base(folder: Path) -> None:
    """A pipeline of 32 px pictures with SD v1's scheduler configuration."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a cat", "a red car", "a house"])
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    StableDiffusionPipeline(
        vae, CLIPTextModel(text), tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    ).save_pretrained(folder)


def snapshot(store: Store, epoch: int, unet: dict | None = None, decoder: dict | None = None) -> Snapshot:
    """A snapshot record whose parts, where given, are put into the store in fp16."""
    files = [
        None
        if weights is None
        else StoredFile(
            path="x.safetensors", key=store.put(save({k: v.half().contiguous() for k, v in weights.items()})), bytes=1
        )
        for weights in (unet, decoder)
    ]
    return Snapshot(
        epoch=epoch,
        step=epoch,
        weights="ema",
        unet=files[0],
        decoder=files[1],
        train_loss=0.1,
        heldout_loss=0.2,
        decoder_psnr=None,
    )
