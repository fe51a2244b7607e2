"""What can be known before time is spent: is there disk, memory and data enough for this training?"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import torch

from tasks.finetune.base import load_config, load_part
from tasks.finetune.errors import DatasetError, FinetuneError, ModelError, ResourceError
from tasks.finetune.lpips import load_lpips
from tasks.finetune.memory import GIB, disk_budget, free_bytes, sizes_of, standing_memory
from tasks.finetune.settings import FinetuneSettings
from tasks.store import Store


def preflight(
    settings: FinetuneSettings, pictures: int, folder: Path, store: Store, log: Callable[[str], None], made: int = 0,
    state_bytes: int = 0,
) -> None:  # fmt: skip
    """Log the disk budget, and raise in one line when the training cannot come to its end here.

    `made` snapshots and states of `state_bytes` are there already.
    """
    if pictures < settings.processes:
        raise DatasetError(
            f"{pictures} pictures can't be shared among {settings.processes} processes; set processes to 1"
        )
    if settings.optimizer == "adamw8bit" and not find_spec("bitsandbytes"):
        raise FinetuneError(
            "optimizer adamw8bit needs bitsandbytes, which is not installed; "
            "run pip install bitsandbytes, or set optimizer to adamw"
        )
    unet, vae = (load_config(kind, settings.base_model, settings.revision) for kind in ("unet", "vae"))
    check_base(settings, unet, vae)
    sizes = sizes_of(unet, vae, settings)
    budget = disk_budget(sizes, settings, pictures, made, state_bytes)
    log(str(budget))
    check_disk(
        {folder: budget.state + budget.cache} | ({Path(str(store.root)): budget.snapshots} if store.is_local else {})
    )
    check_memory(standing_memory(sizes, settings))
    if settings.lpips_weights:
        load_lpips(settings.lpips_weights)


def check_base(settings: FinetuneSettings, unet: dict[str, Any], vae: dict[str, Any]) -> None:
    """Raise ModelError when the base model is not one that this recipe trains, by the configurations of its parts."""
    scheduler: Any = load_part("scheduler", settings.base_model, settings.revision)
    prediction, noisy = scheduler.config["prediction_type"], unet.get("in_channels", 4)
    wrong = ""
    if prediction not in ("epsilon", "v_prediction"):
        wrong = f"it predicts {prediction}, not epsilon or v_prediction"
    elif unet.get("addition_embed_type"):
        wrong = f"its unet takes {unet['addition_embed_type']} beside the text, as Stable Diffusion XL does"
    elif noisy != vae.get("latent_channels", 4):
        wrong = f"its unet takes {noisy} channels, its vae makes {vae.get('latent_channels', 4)}"
    if wrong:
        raise ModelError(
            f"base model {settings.base_model} can't be trained: {wrong}; "
            "give a text-to-image base of Stable Diffusion v1"
        )


def check_disk(needed: dict[Path, int]) -> None:
    """Raise ResourceError when what is to be written to these folders, disk by disk, is more than is free."""
    disks: dict[int, tuple[int, int, Path]] = {}
    for folder, wanted in needed.items():
        device, free = free_bytes(folder.absolute())
        disks[device] = (disks.get(device, (0, 0, folder))[0] + wanted, free, folder)
    for wanted, free, folder in disks.values():
        if wanted > free:
            raise ResourceError(
                f"the training will write {wanted / GIB:.2f} GiB to the disk of {folder}, which has {free / GIB:.2f} "
                "GiB free; raise snapshot_every, lower epochs, or free the disk"
            )


def check_memory(standing: int) -> None:
    """Raise ResourceError when weights, gradients and optimizer alone are more than the GPU, or the machine, has."""
    if torch.cuda.is_available():
        has, where = torch.cuda.get_device_properties(0).total_memory, "the GPU"
    else:
        has, where = psutil.virtual_memory().total, "this machine"
    if standing > has:
        raise ResourceError(
            f"the training holds {standing / GIB:.1f} GiB in memory, {where} has {has / GIB:.1f} GiB; "
            "set lora_rank (say 16), ema_decay 0 or optimizer adamw8bit, or take a larger GPU"
        )
