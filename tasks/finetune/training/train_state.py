"""The UNet with everything that moves while it trains: optimizer, moving average, progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel

from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.lora import adapt
from tasks.finetune.training.made import UnetMade, UnetProgress
from tasks.finetune.training.resume import Resume
from tasks.finetune.training.state import load_state, save_state


@dataclass
class TrainState:
    """`unet` is the model itself; `forward` the same as the loop calls it (wrapped when several processes train).

    `named` are the trained parameters.
    """

    unet: torch.nn.Module
    forward: torch.nn.Module
    named: dict[str, torch.nn.Parameter]
    optimizer: Any
    ema: EMAModel | None
    progress: UnetProgress


def new_optimizer(parameters: Any, settings: FinetuneSettings) -> torch.optim.Optimizer:
    """AdamW, fused or with 8-bit moments."""
    common = {
        "lr": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "betas": (0.9, settings.adam_beta2),
    }
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, fused=True, **common)
    from bitsandbytes.optim import AdamW8bit  # type: ignore[import-not-found]

    return AdamW8bit(parameters, **common)


def prepare(
    unet: torch.nn.Module, settings: FinetuneSettings, resume: Resume[UnetMade], accelerator: Accelerator
) -> TrainState:  # fmt: skip
    """Put the UNet on its device, ready to train from the base model or from the state of `resume`."""
    if settings.lora_rank:
        adapt(unet, settings.lora_rank, settings.seed)
    else:
        unet.requires_grad_(True)
    # bitsandbytes makes weights contiguous in its first step: were they not so before, a resumed training would differ.
    layout = torch.contiguous_format if settings.optimizer == "adamw8bit" else torch.channels_last
    unet.train().to(accelerator.device, memory_format=layout)  # type: ignore[call-overload]
    named = {name: p for name, p in unet.named_parameters() if p.requires_grad}
    optimizer = new_optimizer(named.values(), settings)
    ema = EMAModel(named.values(), decay=settings.ema_decay, foreach=True) if settings.ema_decay else None
    if resume.state:
        shadow = ema.shadow_params if ema else None
        load_state(resume.state, named, optimizer, shadow, resume.progress.skipped)
    if ema:
        ema.optimization_step = resume.progress.step
    # No process may write the state while another still reads it.
    accelerator.wait_for_everyone()
    if settings.torch_compile:
        unet.compile()
    forward, optimizer = accelerator.prepare(unet, optimizer)
    if accelerator.scaler and resume.progress.scaler:
        accelerator.scaler.load_state_dict(resume.progress.scaler)
    return TrainState(unet, forward, named, optimizer, ema, resume.progress)


def save(train_state: TrainState, folder: Path, accelerator: Accelerator) -> None:
    """Write the resume state; the first process writes, the others wait for it."""
    if accelerator.scaler:
        train_state.progress.scaler = accelerator.scaler.state_dict()
    if accelerator.is_main_process:
        optimizer = getattr(train_state.optimizer, "optimizer", train_state.optimizer)
        shadow = train_state.ema.shadow_params if train_state.ema else None
        save_state(folder, train_state.named, optimizer, shadow, train_state.progress)
    accelerator.wait_for_everyone()


@contextmanager
def as_snapshot(train_state: TrainState) -> Iterator[torch.nn.Module]:
    """The UNet as a snapshot holds it: in eval mode, with the moving average (when there is one) for weights."""
    parameters = train_state.named.values()
    if train_state.ema:
        train_state.ema.store(parameters)
        train_state.ema.copy_to(parameters)
    train_state.unet.eval()
    try:
        yield train_state.unet
    finally:
        train_state.unet.train()
        if train_state.ema:
            train_state.ema.restore(parameters)
