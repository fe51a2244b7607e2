"""What can be known before time is spent: is there disk, memory and data enough for this training?"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from tasks.common.errors import DatasetError, ModelError
from tasks.common.store import Store
from tasks.diffusion.loading import load_part
from tasks.finetune.errors import FinetuneError, ResourceError
from tasks.finetune.memory.peaks import Machine, Peak, load_base_configs, predict_peaks
from tasks.finetune.memory.prediction import GIB, disk_budget, free_bytes, sizes_of, standing_memory
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.lpips import load_lpips
from tasks.finetune.training.precision import Card, find_card, precision_for

REMEDIES = {
    "unet step": "set gradient_checkpointing, lora_rank (say 16) or ema_decay 0, or lower batch_size or resolution",
    "snapshot": "lower batch_size or resolution, or set lora_rank (say 16) or ema_decay 0",
    "decoder step": "lower resolution, or set decoder_epochs 0",
}


def preflight(
    settings: FinetuneSettings, pictures: int, folder: Path, store: Store, log: Callable[[str], None], made: int = 0,
    state_bytes: int = 0,
) -> None:  # fmt: skip
    """Log the disk budget and, for a GPU, each stage's peak of memory; `made` snapshots and `state_bytes` are there.

    Raises, in one line, when the training cannot come to its end here.
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
    card = find_card()
    precision = precision_for(settings, card)
    base = load_base_configs(settings.base_model, settings.revision)
    check_base(settings, base.unet, base.vae)
    sizes = sizes_of(base.unet, base.vae, settings)
    budget = disk_budget(sizes, settings, pictures, made, state_bytes)
    log(str(budget))
    check_disk(
        {folder: budget.state + budget.cache} | ({Path(str(store.root)): budget.snapshots} if store.is_local else {})
    )
    check_memory(standing_memory(sizes, settings), card)
    if card:
        # Drawing comes after the training, in a process of its own, at a size and in batches of its own.
        peaks = predict_peaks(base, settings, Machine(precision, gpu=True), drawn=0)
        log(describe_peaks(peaks))
        check_peaks(peaks, card)
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
                "GiB free; ask for fewer snapshots, lower epochs, or free the disk"
            )


def check_memory(standing: int, card: Card | None) -> None:
    """Raise ResourceError when weights, gradients and optimizer alone are more than the card, or the machine, has."""
    has, where = (card.memory, card.name) if card else (psutil.virtual_memory().total, "this machine")
    if standing > has:
        raise ResourceError(
            f"the training holds {standing / GIB:.1f} GiB in memory, {where} has {has / GIB:.1f} GiB; "
            "set lora_rank (say 16), ema_decay 0 or optimizer adamw8bit, or take a larger GPU"
        )


def describe_peaks(peaks: list[Peak]) -> str:
    """What each stage is predicted to take, in a line."""
    return "memory: " + ", ".join(f"{peak.stage} {peak.bytes / GIB:.1f}" for peak in peaks) + " GiB"


def check_peaks(peaks: list[Peak], card: Card) -> None:
    """Raise ResourceError when a stage needs more than the card has; it names the stage that needs most."""
    most = max(peaks, key=lambda peak: peak.bytes)
    if most.bytes > card.memory:
        raise ResourceError(
            f"{most.stage} needs {most.bytes / GIB:.1f} GiB, {card.name} has {card.memory / GIB:.1f} GiB; "
            f"{REMEDIES.get(most.stage, 'lower resolution')}, or take a larger GPU"
        )
