"""The parts of a training that are kept apart, each under a key of what decides its bits and nothing else.

So a part is made once for all trainings that share it: another decoder rate leaves the UNet as it is, another caption
the decoder. Where the learning rate does not look at the end of the training, neither does the UNet's key: more epochs
go on from the state that is there.
"""

from pathlib import Path
from typing import Any

from tasks.common.rows import Row
from tasks.common.settings import digest
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.steps import plan

# A new setting is in both keys until it is named here.
NOT_FOR_UNET = ("snapshot_every", "snapshot_at", "decoder_epochs", "decoder_learning_rate", "decoder_batch_size")
NOT_FOR_DECODER = (
    "epochs", "snapshot_every", "snapshot_at", "batch_size", "gradient_accumulation", "learning_rate", "lr_schedule",
    "warmup_steps", "weight_decay", "adam_beta2", "ema_decay", "caption_dropout", "min_snr_gamma", "offset_noise",
    "lora_rank", "optimizer", "processes",
)  # fmt: skip


def unet_folder(root: Path, rows: tuple[list[Row], list[Row]], settings: FinetuneSettings, base: str) -> Path:
    """Where the UNet's states, previews and logs lie; `rows` are trained and held out, `base` the model's identity."""
    without = NOT_FOR_UNET + (("epochs",) if settings.lr_schedule == "constant" else ())
    captioned = [[(row.id, row.text) for row in part] for part in rows]
    return root / f"unet-{digest([captioned, base, _without(settings, without)])[:16]}"


def decoder_folder(root: Path, rows: tuple[list[Row], list[Row]], settings: FinetuneSettings, base: str) -> Path:
    """Where the decoder's states and logs lie."""
    pictures = [[row.id for row in part] for part in rows]
    return root / f"decoder-{digest([pictures, base, _without(settings, NOT_FOR_DECODER)])[:16]}"


def result_key(rows: tuple[list[Row], list[Row]], settings: FinetuneSettings, base: str) -> str:
    """The digest of all that decides what a whole training gives."""
    captioned = [[(row.id, row.text) for row in part] for part in rows]
    return digest([captioned, base, settings.output_settings()])


def _without(settings: FinetuneSettings, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in settings.output_settings().items() if name not in names}


def unet_steps(count: int, settings: FinetuneSettings, processes: int) -> dict[int, int]:
    """Epoch → optimizer steps done at its end, of each of the UNet's snapshots; `count` pictures are trained on."""
    per_epoch = plan(count, settings, processes)[1]
    return {epoch: epoch * per_epoch for epoch in settings.snapshot_epochs()}


def decoder_plan(count: int, settings: FinetuneSettings) -> tuple[int, int]:
    """(pictures per step, steps per epoch) of the decoder's training."""
    batch = min(settings.decoder_batch_size, count)
    return batch, count // batch


def decoder_steps(count: int, settings: FinetuneSettings) -> dict[int, int]:
    """Epoch of the UNet → the decoder's step whose snapshot goes with it: both come to their ends together.

    Several may be of one step when the decoder's training is short.
    """
    steps = decoder_plan(count, settings)[1] * settings.decoder_epochs
    return {
        epoch: max(1, round(steps * epoch / settings.epochs)) if epoch else 0 for epoch in settings.snapshot_epochs()
    }
