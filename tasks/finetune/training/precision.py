"""In which precision a training computes: what the settings ask for, and what the graphics card can do."""

from dataclasses import dataclass
from typing import Literal

import torch

from tasks.finetune.errors import ResourceError
from tasks.finetune.settings import FinetuneSettings

Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True)
class Card:
    """A graphics card: its `name`, whether it computes in bf16 (emulation doesn't count), its memory in bytes."""

    name: str
    bf16: bool
    memory: int


def find_card() -> Card | None:
    """The card that torch would use; None without one."""
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return Card(found.name, torch.cuda.is_bf16_supported(including_emulation=False), found.total_memory)


def precision_for(settings: FinetuneSettings, card: Card | None) -> Precision:
    """As the settings say. `auto` is fp32 without a card; bf16 on one that has it, else fp16 with a scaled loss.

    Cards older than Nvidia's Ampere (T4, V100) have no bf16. Raises ResourceError when it is asked of one of them.
    """
    wanted = settings.mixed_precision
    if wanted == "bf16" and card and not card.bf16:
        raise ResourceError(
            f"mixed_precision is bf16, which {card.name} can't compute; set it to auto, which trains in fp16 there"
        )
    if wanted != "auto":
        return wanted
    if card is None:
        return "no"
    return "bf16" if card.bf16 else "fp16"
