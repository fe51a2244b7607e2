"""LPIPS, the perceptual distance of Zhang et al. 2018 ("The Unreasonable Effectiveness of Deep Features"), on VGG16.

Its weights are not shipped and never downloaded: a safetensors file of torchvision's VGG16 convolutions, named
`features.N.weight` and `features.N.bias` (N = 0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), and the published
linear layers, `linK.weight` of shape [1, channels, 1, 1] (K = 0 … 4).

torchmetrics has LPIPS too, but builds its networks by torchvision, which nothing else here needs; without it there is
no way in but its private parts. The test compares the two.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from tasks.common.errors import ModelError, first_line
from tasks.common.rows import Row
from tasks.finetune.memory.prediction import pictures_at_once
from tasks.finetune.training.data import pixels
from tasks.finetune.training.latents import LatentCache

# The convolutions of each block, by their number in torchvision's `features`, and the channels of its features.
BLOCKS = (((0, 2), 64), ((5, 7), 128), ((10, 12, 14), 256), ((17, 19, 21), 512), ((24, 26, 28), 512))
# ImageNet's mean and deviation for pixels in [-1, 1], as the published implementation has them.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors a file of weights must hold, and their shapes."""
    expected: dict[str, tuple[int, ...]] = {}
    before = 3
    for k, (convolutions, channels) in enumerate(BLOCKS):
        for number in convolutions:
            expected[f"features.{number}.weight"] = (channels, before, 3, 3)
            expected[f"features.{number}.bias"] = (channels,)
            before = channels
        expected[f"lin{k}.weight"] = (1, channels, 1, 1)
    return expected


def load_lpips(path: str) -> dict[str, torch.Tensor]:
    """The weights of a file, fp32 on the CPU. Raises ModelError, in one line, when it isn't such a file."""
    try:
        weights = load_file(Path(path))
    except Exception as error:
        raise ModelError(
            f"lpips_weights {path} can't be read ({first_line(error)}); give a safetensors file or leave it empty"
        ) from error
    for name, shape in shapes().items():
        if name not in weights or tuple(weights[name].shape) != shape:
            found = f"is {list(weights[name].shape)}" if name in weights else "is missing"
            raise ModelError(
                f"lpips_weights {path}: tensor {name} {found}, not {list(shape)}; give VGG16's convolutions as "
                "torchvision names them and the lin0.weight to lin4.weight of LPIPS"
            )
    return {name: weights[name].float() for name in shapes()}


@torch.no_grad()
def lpips(first: torch.Tensor, second: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Distance of each pair, float32 [N], 0 for equal pictures; both are [N, 3, h, w] in [-1, 1], sides 16 px up."""
    shift, scale = (torch.tensor(values, device=first.device).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
    both = (torch.cat([first, second]).float() - shift) / scale
    distance = torch.zeros(len(first), device=first.device)
    for k, (convolutions, _) in enumerate(BLOCKS):
        both = F.max_pool2d(both, 2) if k else both
        for number in convolutions:
            both = F.relu(
                F.conv2d(both, weights[f"features.{number}.weight"], weights[f"features.{number}.bias"], padding=1)
            )
        unit = both / (both.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
        a, b = unit.chunk(2)
        distance += F.conv2d((a - b).square(), weights[f"lin{k}.weight"]).mean(dim=(1, 2, 3))
    return distance


@torch.no_grad()
def decoder_lpips(
    vae: Any, latents: LatentCache, rows: list[Row], resolution: int, device: torch.device,
    weights: dict[str, torch.Tensor],
) -> float:  # fmt: skip
    """Mean LPIPS between these pictures and what the decoder makes of their mean latents."""
    placed = {name: tensor.to(device) for name, tensor in weights.items()}
    vae.to(device)
    total = 0.0
    size = pictures_at_once(resolution)
    for start in range(0, len(rows), size):
        target = pixels(rows[start : start + size], resolution).to(device)
        z = latents.mean[start : start + size].to(device) / vae.config.scaling_factor
        total += lpips(vae.decode(z).sample.float().clamp(-1, 1), target, placed).sum().item()
    return total / len(rows)
