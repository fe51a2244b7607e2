"""Train the sample profile's `AutoencoderKL`: f = 4, 4 latent channels, 64 px."""

# diffusers and transformers annotate their models' arguments and outputs too narrowly.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportOperatorIssue=false

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from samples.models.drawings import Drawings
from samples.models.fitting import fit
from tasks.finetune.training.decoder import picture_psnr

STEPS, BATCH, LR = 1500, 32, 3e-3
KL_WEIGHT = 1e-4


def new_vae() -> AutoencoderKL:
    """An untrained VAE of 0.65 M parameters with the layout of SD v1's."""
    torch.manual_seed(0)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
        scaling_factor=1.0,
    )


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """float32 [N, 3, H, W] in [-1, 1] from uint8 [N, H, W, 3]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def jitter(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift each drawing by up to 6 px on white and, half of the time, permute its colour channels."""
    n, _, height, width = batch.shape
    padded = F.pad(batch, (6, 6, 6, 6), value=1.0)
    out = torch.empty_like(batch)
    shifts = torch.randint(0, 13, (n, 2), generator=generator)
    permute = torch.rand(n, generator=generator) < 0.5
    for i in range(n):
        dy, dx = shifts[i].tolist()
        channels = torch.randperm(3, generator=generator) if permute[i] else torch.arange(3)
        out[i] = padded[i, channels, dy : dy + height, dx : dx + width]
    return out


def reconstruction_loss(decoded: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 of the pixels plus L1 of their gradients, which keeps edges sharp where L1 alone greys them."""
    loss = F.l1_loss(decoded, target)
    for dim in (2, 3):
        loss = loss + F.l1_loss(decoded.diff(dim=dim), target.diff(dim=dim))
    return loss


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, images: torch.Tensor) -> None:
    """Fold a per-channel affine into `quant_conv` and `post_quant_conv` so that the latents have mean 0 and std 1.

    Both are 1x1 convolutions, so this changes no picture. `StableDiffusionPipeline` knows one scalar
    `scaling_factor` only; with normalised channels that scalar is right for each of them. It is measured and set.
    """
    means = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in images.split(64)])
    mean, std = means.mean(dim=(0, 2, 3)), means.std(dim=(0, 2, 3))
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:4] /= std[:, None, None, None]
    quant.bias[:4] = (quant.bias[:4] - mean) / std
    quant.bias[4:] -= 2 * std.log()  # the second half is the log variance
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(dim=1)
    post.weight *= std[None, :, None, None]
    latents = torch.cat([vae.encode(chunk).latent_dist.mean for chunk in images.split(64)])
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))


@torch.no_grad()
def psnr(vae: AutoencoderKL, images: torch.Tensor) -> float:
    """Mean PSNR in dB of decoding the mean latents, pixels in [0, 1]."""
    values = []
    for chunk in images.split(64):
        values.append(picture_psnr(vae, vae.encode(chunk).latent_dist.mean * vae.config.scaling_factor, chunk))
    return torch.cat(values).mean().item()


def train(drawings: Drawings, work: Path, target: Path) -> float:
    """Train on the drawings that are not held out, save to `target`; returns the seconds it took."""
    vae = new_vae()
    images = to_tensor(drawings.where(held_out=False).pixels)

    def loss_at(step: int, generator: torch.Generator) -> torch.Tensor:
        chosen = torch.randint(0, len(images), (BATCH,), generator=generator)
        batch = jitter(images[chosen], generator)
        noise = torch.randn((BATCH, 4, 16, 16), generator=generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):  # twice as fast as fp32 on processors with AMX
            posterior = vae.encode(batch).latent_dist
            decoded = vae.decode(posterior.mean + posterior.std * noise).sample.float()
        return reconstruction_loss(decoded, batch) + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()

    seconds = fit(vae, loss_at, work / "vae", STEPS, LR)
    normalise_latents(vae, images)
    vae.half().save_pretrained(target)
    return seconds
