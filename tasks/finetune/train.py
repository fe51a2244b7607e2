"""The whole of fine-tuning as one plain function: cache, UNet, decoder, snapshots."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.models.attention_processor import AttnProcessor

from tasks.finetune.base import identity, load_part
from tasks.finetune.data import Row, read_rows, split
from tasks.finetune.decoder import train_decoder
from tasks.finetune.errors import ModelError
from tasks.finetune.latents import cache_latents, cache_text
from tasks.finetune.loop import Step, TrainingData, plan, train_unet
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.snapshots import DECODER_FILE, UNET_FILE, save_weights
from tasks.records import DatasetRef, EpochLoss, Record, Snapshot, StoredFile, Training
from tasks.settings import digest
from tasks.store import Store


class TrainingJob(Record):
    """What one training is: the dataset, the settings, and the folder of its caches and resume state."""

    dataset: DatasetRef | str
    settings: FinetuneSettings
    folder: str


def training_folder(root: Path, dataset: DatasetRef | str, settings: FinetuneSettings) -> Path:
    """Where a training of this dataset with these settings keeps its state: the same for every retry of it."""
    name = dataset if isinstance(dataset, str) else dataset.fingerprint
    return root / digest([name, settings.output_settings(), identity(settings.base_model, settings.revision)])[:24]


def train(
    job: TrainingJob,
    store: Store,
    report: Callable[[str, Step], None] = lambda stage, step: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Training:
    """Fine-tune and return what came of it. A second call with the same job resumes, or returns the finished result.

    `report` is called with "unet" or "decoder" after each step; when `stopping()` turns true the state is saved and
    Interrupted raised. Raises DatasetError, ModelError and LossError, each one line, before time is spent if possible.
    """
    settings, folder = job.settings, Path(job.folder)
    finished = folder / "training.json"
    if finished.exists():
        return Training.model_validate_json(finished.read_text())
    accelerator = Accelerator(mixed_precision=_precision(settings))
    trained, held_out = split(read_rows(job.dataset, store), settings.held_out)
    data, scheduler = _cache(trained, held_out, settings, folder, accelerator.device)
    unet = load_part("unet", settings.base_model, settings.revision)
    if settings.gradient_checkpointing:
        unet.enable_gradient_checkpointing()  # type: ignore[attr-defined]
    if accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16":
        # The fused attention's backward is so slow in bf16 on a CPU that it takes half of the step.
        unet.set_attn_processor(AttnProcessor())  # type: ignore[attr-defined]

    def save_unet(epoch: int, step: int, named: Any, train_loss: float | None, held: float | None) -> dict[str, Any]:
        file = save_weights(UNET_FILE, named, store).model_dump() if epoch else None
        return {"epoch": epoch, "step": step, "unet": file, "train_loss": train_loss, "heldout_loss": held}

    progress = train_unet(
        unet, scheduler, data, settings, folder / "unet.safetensors", accelerator, save_unet,  # type: ignore[arg-type]
        lambda step: report("unet", step), stopping,
    )  # fmt: skip
    del unet
    decoders = _train_decoder(
        trained, held_out, data, len(progress["snapshots"]) - 1, settings, folder, accelerator, store,
        lambda step: report("decoder", step), stopping,
    )  # fmt: skip
    result = _result(job, progress, decoders, data, plan(len(trained), settings, accelerator.num_processes)[1])
    if accelerator.is_main_process:
        partial = finished.with_suffix(".partial")
        partial.write_text(result.model_dump_json(indent=1))
        partial.rename(finished)
    return result


def _precision(settings: FinetuneSettings) -> str:
    if settings.mixed_precision != "auto":
        return settings.mixed_precision
    return "bf16" if torch.cuda.is_available() else "no"


def _cache(
    trained: list[Row], held_out: list[Row], settings: FinetuneSettings, folder: Path, device: torch.device
) -> tuple[TrainingData, Any]:
    """Everything the frozen models have to say, and the noise schedule; the frozen models are freed after it."""
    base = (settings.base_model, settings.revision)
    scheduler, tokenizer = load_part("scheduler", *base), load_part("tokenizer", *base)
    vae: Any = load_part("vae", *base)
    vae.eval().requires_grad_(False).to(device)
    vae_id = identity(*base)
    latents = cache_latents(vae, vae_id, trained, settings.resolution, folder)
    held = cache_latents(vae, vae_id, held_out, settings.resolution, folder) if held_out else None
    encoder: Any = load_part("text_encoder", *base)
    encoder.eval().requires_grad_(False).to(device)
    if encoder.config.max_position_embeddings < tokenizer.model_max_length:  # type: ignore[attr-defined]
        raise ModelError(
            f"base model {settings.base_model}: its tokenizer makes {tokenizer.model_max_length} tokens, "  # type: ignore[attr-defined]
            f"its text encoder takes {encoder.config.max_position_embeddings}; give a base whose parts belong together"
        )
    text = cache_text(encoder, tokenizer, [row.text for row in trained])  # type: ignore[arg-type]
    held_text = cache_text(encoder, tokenizer, [row.text for row in held_out]) if held_out else None  # type: ignore[arg-type]
    return TrainingData(latents, text, held, held_text), scheduler


def _train_decoder(
    trained: list[Row], held_out: list[Row], data: TrainingData, marks: int, settings: FinetuneSettings, folder: Path,
    accelerator: Accelerator, store: Store, report: Callable[[Step], None], stopping: Callable[[], bool],
) -> list[dict[str, Any]]:  # fmt: skip
    """The decoder's snapshots, one for each of the UNet's; none when the decoder is left as it is."""
    if not settings.decoder_epochs or not accelerator.is_main_process:
        return []
    vae: Any = load_part("vae", settings.base_model, settings.revision)

    def save_decoder(mark: int, named: dict[str, torch.Tensor], psnr: float | None) -> dict[str, Any]:
        file = save_weights(DECODER_FILE, named, store).model_dump() if mark else None
        return {"file": file, "psnr": psnr}

    held = (data.held_out_latents, held_out) if data.held_out_latents else None
    progress = train_decoder(
        vae, data.latents, trained, held, marks, settings, folder / "decoder.safetensors", accelerator, save_decoder,
        report, stopping,
    )  # fmt: skip
    return progress["snapshots"]


def _result(
    job: TrainingJob, progress: dict[str, Any], decoders: list[dict[str, Any]], data: TrainingData, per_epoch: int
) -> Training:
    snapshots, settings = [], job.settings
    for i, made in enumerate(progress["snapshots"]):
        decoder = decoders[i] if decoders else {"file": None, "psnr": None}
        snapshots.append(
            Snapshot(
                **{k: made[k] for k in ("epoch", "step", "train_loss", "heldout_loss")},
                weights="base" if made["epoch"] == 0 else "ema" if settings.ema_decay else "raw",
                unet=StoredFile(**made["unet"]) if made["unet"] else None,
                decoder=StoredFile(**decoder["file"]) if decoder["file"] else None,
                decoder_psnr=decoder["psnr"],
            )
        )
    held = {snapshot.epoch: snapshot.heldout_loss for snapshot in snapshots}
    losses = progress["losses"]
    epochs = [EpochLoss(epoch=0, train_loss=None, heldout_loss=held.get(0))] + [
        EpochLoss(epoch=e + 1, train_loss=sum(chunk) / len(chunk), heldout_loss=held.get(e + 1))
        for e in range(settings.epochs)
        if (chunk := losses[e * per_epoch : (e + 1) * per_epoch])
    ]
    return Training(
        base_model=settings.base_model,
        base_revision=settings.revision,
        dataset_fingerprint=job.dataset if isinstance(job.dataset, str) else job.dataset.fingerprint,
        snapshots=tuple(snapshots),
        losses=tuple(epochs),
        psnr_before=decoders[0]["psnr"] if decoders else None,
        psnr_after=decoders[-1]["psnr"] if decoders else None,
        truncated_captions=data.text.truncated,
        images_trained=len(data.latents.ids),
        images_held_out=len(data.held_out_latents.ids) if data.held_out_latents else 0,
    )
