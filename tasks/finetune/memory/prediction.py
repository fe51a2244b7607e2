"""What a training needs of memory and of disk, computed from shapes before anything is loaded."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tasks.finetune.settings import FinetuneSettings

GIB = 2**30
CUDA_CONTEXT = int(0.75 * GIB)  # what CUDA, cuDNN and the allocator's slack take beside the tensors
VAE_PIXELS = 4 * 512**2  # the VAE takes so many at once: in fp32, 3 GiB decoding and 9 GiB in a decoder step
VAE_PICTURES = 16


def peak_memory(device: torch.device) -> int:
    """Bytes: the most the GPU's allocator reserved, or the most this process ever held when there is no GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def pictures_at_once(resolution: int) -> int:
    """How many pictures of this side (px) the VAE encodes, decodes or trains on at once: bound by their pixels."""
    return min(VAE_PICTURES, max(1, VAE_PIXELS // resolution**2))


@dataclass(frozen=True)
class Sizes:
    """Parameter counts: of the UNet, of those that train, and of the VAE's decoder (0 when it does not train).

    `latent_side` is the side of the square latents, [4, side, side].
    """

    unet: int
    trained: int
    decoder: int
    latent_side: int


def sizes_of(unet_config: dict[str, Any], vae_config: dict[str, Any], settings: FinetuneSettings) -> Sizes:
    """Count parameters by building both models without memory."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from tasks.diffusion.snapshots import decoder_parameters
    from tasks.finetune.training.lora import adapt

    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(unet_config)
        vae: Any = AutoencoderKL.from_config(vae_config)
        whole = sum(p.numel() for p in unet.parameters())
        if settings.lora_rank:
            adapt(unet, settings.lora_rank, settings.seed)
    trained = sum(p.numel() for p in unet.parameters() if p.requires_grad)
    decoder = sum(p.numel() for p in decoder_parameters(vae).values()) if settings.decoder_epochs else 0
    return Sizes(whole, trained, decoder, settings.resolution // 2 ** (len(vae.config.block_out_channels) - 1))


def standing_memory(sizes: Sizes, settings: FinetuneSettings) -> int:
    """Bytes held all through the UNet's training: fp32 weights, gradients, moments and moving average."""
    moments = 2 if settings.optimizer == "adamw8bit" else 8
    average = 4 if settings.ema_decay else 0
    frozen = 0 if sizes.trained == sizes.unet else 4 * sizes.unet
    return frozen + sizes.trained * (4 + 4 + moments + average)


def snapshot_epochs(settings: FinetuneSettings) -> int:
    """How many snapshots a training writes; that of epoch 0 is the base model and takes no room."""
    return len(settings.snapshot_epochs()) - 1


@dataclass(frozen=True)
class DiskBudget:
    """Bytes a training will still write: thin fp16 snapshots to the store; resume state and caches to its folder."""

    snapshots: int
    state: int
    cache: int

    def __str__(self) -> str:
        return (
            f"disk: {self.snapshots / GIB:.2f} GiB of snapshots, {self.state / GIB:.2f} GiB of resume state, "
            f"{self.cache / GIB:.2f} GiB of cached latents"
        )


def disk_budget(sizes: Sizes, settings: FinetuneSettings, pictures: int, made: int, state_bytes: int) -> DiskBudget:
    """What is still to be written when `made` snapshots and a state of `state_bytes` are there already.

    A new state is written beside the old one before it replaces it, so there are two for a moment.
    """
    moments = 2 if settings.optimizer == "adamw8bit" else 8
    state = sizes.trained * (4 + moments + (4 if settings.ema_decay else 0)) + sizes.decoder * 12
    latents = sizes.latent_side**2 * 4 * 4 * 2
    left = max(0, snapshot_epochs(settings) - made)
    snapshots = 2 * left * (sizes.unet + sizes.decoder)
    return DiskBudget(snapshots, max(0, 2 * state - state_bytes), pictures * latents)


def free_bytes(folder: Path) -> tuple[int, int]:
    """(device number, free bytes) of the disk that `folder` is or will be on."""
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    return folder.stat().st_dev, found.f_bavail * found.f_frsize
