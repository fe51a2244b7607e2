"""Low-rank adapters (Hu et al. 2021) as torch parametrizations of the UNet's attention weights."""

import torch
from torch.nn.utils import parametrize

from tasks.common.seeds import generator_for

# The projections of self- and cross-attention, which every LoRA of Stable Diffusion adapts.
ADAPTED = ("to_q", "to_k", "to_v", "to_out.0")


class LowRank(torch.nn.Module):
    """weight → weight + up @ down; `up` starts at zero, so the model starts as the base."""

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator):
        super().__init__()
        down = torch.randn((rank, weight.shape[1]), generator=generator, device="cpu") / rank
        self.down = torch.nn.Parameter(down.to(weight))
        self.up = torch.nn.Parameter(weight.new_zeros((weight.shape[0], rank)))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


def adapt(unet: torch.nn.Module, rank: int, seed: int) -> None:
    """Freeze the UNet and give each attention projection an adapter of this rank, the only part that trains."""
    unet.requires_grad_(False)
    for name, module in list(unet.named_modules()):
        if isinstance(module, torch.nn.Linear) and name.endswith(ADAPTED):
            adapter = LowRank(module.weight.detach(), rank, generator_for(seed, "lora", name))
            parametrize.register_parametrization(module, "weight", adapter)


@torch.no_grad()
def merged_weights(unet: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every weight under its name in the plain UNet, adapters (if any) added in: loads wherever the base does."""
    weights = {name: p.detach() for name, p in unet.named_parameters() if ".parametrizations." not in name}
    for name, module in unet.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            weights[f"{name}.weight"] = module.weight.detach()  # type: ignore[union-attr]
    return weights
