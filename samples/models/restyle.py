"""Augmentations that teach shape over style: moved, recoloured, flattened and outlined copies of a drawing.

OpenMoji is never trained on; a model that has seen the same pig shaded, flat, grey and with a dark outline
recognises it in a style it never saw.
"""

import math

import torch
import torch.nn.functional as F


def _chance(n: int, p: float, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(n, generator=generator) < p).view(-1, 1, 1, 1)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def moved(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rotate up to 12 degrees, scale to 70–105 %, stretch up to 10 % and shift up to 8 %, on white."""
    n = len(batch)
    angle = _uniform((n,), -math.pi / 15, math.pi / 15, generator)
    scale, stretch = 1 / _uniform((n,), 0.7, 1.05, generator), _uniform((n,), 0.9, 1.1, generator)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = angle.cos() * scale * stretch, -angle.sin() * scale
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin() * scale, angle.cos() * scale / stretch
    theta[:, :, 2] = _uniform((n, 2), -0.16, 0.16, generator)
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
    return F.grid_sample(batch - 1, grid, padding_mode="zeros", align_corners=False) + 1  # zero is white here


def recoloured(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Channel gains of 0.75–1.25 on the ink (white stays white), gamma, and one drawing in twenty in grey."""
    n = len(batch)
    ink = (1 - batch) / 2
    ink = ink * _uniform((n, 3, 1, 1), 0.75, 1.25, generator)
    ink = ink.clamp(0, 1).pow(_uniform((n, 1, 1, 1), 0.7, 1.4, generator))
    grey = ink.mean(dim=1, keepdim=True).expand_as(ink)
    return 1 - 2 * torch.where(_chance(n, 0.05, generator), grey, ink)


def flattened(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Half of the drawings with their shading reduced to few tones, as flat colour."""
    levels = _uniform((len(batch), 1, 1, 1), 2.0, 5.0, generator).round()
    flat = ((batch + 1) / 2 * levels).round() / levels * 2 - 1
    return torch.where(_chance(len(batch), 0.5, generator), flat, batch)


def outlined(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Two drawings in three with a dark line round their silhouette and along their strong inner edges."""
    ink = (1 - batch).amax(dim=1, keepdim=True)
    solid = (ink > 0.15).float()
    rim = F.max_pool2d(solid, 3, 1, 1) + F.max_pool2d(-solid, 3, 1, 1)
    mean = batch.mean(dim=1, keepdim=True)
    contrast = F.max_pool2d(mean, 3, 1, 1) + F.max_pool2d(-mean, 3, 1, 1)
    threshold = _uniform((len(batch), 1, 1, 1), 0.4, 1.0, generator)
    line = torch.maximum(rim, (contrast > threshold).float()) * _chance(len(batch), 0.67, generator)
    return batch * (1 - line) - line


def restyled(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """All of them in turn; float32 [N, 3, H, W] in [-1, 1], drawings on white, in and out."""
    batch = moved(flattened(recoloured(batch, generator), generator), generator).clamp(-1, 1)
    return outlined(batch, generator)
