"""The whole of fine-tuning as one plain function: caches, UNet, decoder, snapshots."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from diffusers.models.attention_processor import AttnProcessor

from tasks.allocator import keep_freed_memory
from tasks.finetune.base import load_part
from tasks.finetune.board import Report, log_snapshot, open_board, with_board
from tasks.finetune.caches import cache_all
from tasks.finetune.data import Row, read_rows, split
from tasks.finetune.decoder import train_decoder
from tasks.finetune.errors import FinetuneError
from tasks.finetune.job import PREVIEWS, TrainingJob
from tasks.finetune.loop import train_unet
from tasks.finetune.lora import merged_weights
from tasks.finetune.lpips import decoder_lpips, load_lpips
from tasks.finetune.objective import TrainingData
from tasks.finetune.precision import find_card, precision_for
from tasks.finetune.preflight import preflight
from tasks.finetune.preview import draw_previews
from tasks.finetune.preview_files import keep_previews
from tasks.finetune.result import training_of
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.snapshots import DECODER_FILE, UNET_FILE, save_weights
from tasks.finetune.state import saved_progress
from tasks.finetune.steps import plan
from tasks.identity import model_identity
from tasks.records import Training
from tasks.store import Store, write_atomically

# The first process may encode the data set, or write a snapshot, for this long while the others wait.
PATIENCE = timedelta(hours=12)
SMALL_RESOLUTION = 128  # px; for attention in bf16 on a CPU


@dataclass(frozen=True)
class Work:
    """What the parts of one training share: where its files go, the processes, and whom to tell."""

    settings: FinetuneSettings
    folder: Path
    store: Store
    accelerator: Accelerator
    board: Any
    report: Report
    stopping: Callable[[], bool]
    drawn: Callable[[int], None]


def train(
    job: TrainingJob,
    store: Store,
    report: Report = lambda stage, step: None,
    stopping: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = lambda line: None,
    drawn: Callable[[int], None] = lambda epoch: None,
) -> Training:
    """Fine-tune and return what came of it. A second call with the same job resumes, or returns the finished result.

    `report` is called with "unet" or "decoder" after each step, `log` with lines for a person, `drawn` with the epoch
    whose previews were added to the folder; when `stopping()` turns true the state is saved and Interrupted raised.
    Raises DatasetError, ModelError, ResourceError and LossError, each one line, before time is spent if possible.
    """
    settings, folder = job.settings, Path(job.folder)
    finished = folder / "training.json"
    if (done := _finished(finished, store)) is not None:
        return done
    keep_freed_memory()
    rows = read_rows(job.dataset, store)
    trained, held_out = split(rows, settings.held_out)
    preflight(settings, len(trained), folder, store, log)
    accelerator = _accelerator(settings)
    data = cache_all(trained, held_out, settings, folder, accelerator, log)
    board = None
    if accelerator.is_main_process:
        board = open_board(folder, (saved_progress(folder / "unet.safetensors") or {"step": 0})["step"])
        report = with_board(report, board)
    work = Work(settings, folder, store, accelerator, board, report, stopping, drawn)
    try:
        progress = _train_unet(work, data)
        accelerator.free_memory()  # it keeps the UNet and its optimizer; the decoder needs their room
        decoders = _train_decoder(work, trained, held_out, data, len(progress["snapshots"]) - 1)
    finally:
        if board:
            board.close()
    if not accelerator.is_main_process:
        progress, decoders = {"snapshots": [], "losses": progress["losses"]}, []
    per_epoch = plan(len(trained), settings, accelerator.num_processes)[1]
    result = training_of(job.dataset, settings, progress, decoders, data, per_epoch)
    if accelerator.is_main_process:
        write_atomically(finished, result.model_dump_json(indent=1).encode())
    return result


def _finished(path: Path, store: Store) -> Training | None:
    """The result of this training, if it has one whose snapshots are all there; if some are gone it starts anew."""
    if not path.exists():
        return None
    training = Training.model_validate_json(path.read_text())
    files = [file for snapshot in training.snapshots for file in (snapshot.unet, snapshot.decoder) if file]
    if all(store.has(file.key) for file in files):
        return training
    for stale in (path, path.with_name("unet.safetensors"), path.with_name("decoder.safetensors")):
        stale.unlink(missing_ok=True)
    return None


def _accelerator(settings: FinetuneSettings) -> Accelerator:
    accelerator = Accelerator(
        mixed_precision=precision_for(settings, find_card()),
        # Without it, accelerate does not see that torchrun started several processes on CPUs.
        cpu=settings.processes > 1 and not torch.cuda.is_available(),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if accelerator.num_processes != settings.processes:
        raise FinetuneError(
            f"processes is {settings.processes}, but {accelerator.num_processes} train; start it with launch()"
        )
    return accelerator


def set_attention(unet: Any, settings: FinetuneSettings, accelerator: Accelerator) -> None:
    """Plain attention for small pictures in bf16 on a CPU: the fused one's backward takes half of the step there.

    For large ones it is the other way round: plain attention writes out its matrix, at 512 px 4096 x 4096 a head.
    """
    on_cpu = accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16"
    if on_cpu and settings.resolution <= SMALL_RESOLUTION:
        unet.set_attn_processor(AttnProcessor())


def _train_unet(work: Work, data: TrainingData) -> dict[str, Any]:
    settings, base = work.settings, (work.settings.base_model, work.settings.revision)
    scheduler: Any = load_part("scheduler", *base)
    unet: Any = load_part("unet", *base)
    if settings.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    set_attention(unet, settings, work.accelerator)

    def save(epoch: int, step: int, model: Any, train_loss: float | None, held: float | None) -> dict[str, Any]:
        pictures = []
        if data.previews:
            vae: Any = load_part("vae", *base)
            vae.to(work.accelerator.device)
            pictures = draw_previews(model, vae, scheduler, data.previews, settings.resolution, settings.seed)
            keep_previews(pictures, epoch, work.folder / PREVIEWS)
            work.drawn(epoch)
        log_snapshot(work.board, step, {"unet/heldout_loss": held, "unet/epoch_loss": train_loss}, pictures)
        file = save_weights(UNET_FILE, merged_weights(model), model_identity(*base), work.store) if epoch else None
        unet_file = file.model_dump() if file else None
        return {"epoch": epoch, "step": step, "unet": unet_file, "train_loss": train_loss, "heldout_loss": held}

    return train_unet(
        unet, scheduler, data, settings, work.folder / "unet.safetensors", work.accelerator, save,
        lambda step: work.report("unet", step), work.stopping,
    )  # fmt: skip


def _train_decoder(
    work: Work, trained: list[Row], held_out: list[Row], data: TrainingData, marks: int
) -> list[dict[str, Any]]:  # fmt: skip
    """The decoder's snapshots, one for each of the UNet's; none when the decoder is left as it is.

    The first process trains it alone: it is a small part of the whole.
    """
    settings = work.settings
    if not settings.decoder_epochs or not work.accelerator.is_main_process:
        return []
    vae: Any = load_part("vae", settings.base_model, settings.revision)
    base_identity = model_identity(settings.base_model, settings.revision)

    def save(mark: int, named: dict[str, torch.Tensor], psnr: float | None) -> dict[str, Any]:
        log_snapshot(work.board, mark, {"decoder/psnr": psnr}, [])
        file = save_weights(DECODER_FILE, named, base_identity, work.store).model_dump() if mark else None
        return {"file": file, "psnr": psnr}

    held = (data.held_out_latents, held_out) if data.held_out_latents else None
    weights = load_lpips(settings.lpips_weights) if held and settings.lpips_weights else None

    def perceived() -> float | None:
        if not held or not weights:
            return None
        return decoder_lpips(vae, *held, settings.resolution, work.accelerator.device, weights)

    lpips_before = perceived()
    progress = train_decoder(
        vae, data.latents, trained, held, marks, settings, work.folder / "decoder.safetensors", work.accelerator, save,
        lambda step: work.report("decoder", step), work.stopping,
    )  # fmt: skip
    first, *others, last = progress["snapshots"]
    return [first | {"lpips": lpips_before}, *others, last | {"lpips": perceived()}]
