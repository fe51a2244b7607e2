"""The whole of fine-tuning as one plain function: caches, UNet, decoder, snapshots."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list
from diffusers.models.attention_processor import AttnProcessor

from tasks.common.allocator import keep_freed_memory
from tasks.common.errors import first_line
from tasks.common.model_id import model_identity
from tasks.common.records import Training
from tasks.common.rows import Row, read_rows, split
from tasks.common.settings import digest
from tasks.common.store import Store
from tasks.diffusion.loading import load_part
from tasks.diffusion.snapshots import DECODER_FILE, UNET_FILE, save_weights
from tasks.finetune.errors import FinetuneError
from tasks.finetune.memory.preflight import preflight
from tasks.finetune.process.job import TrainingJob, read_training, write_training
from tasks.finetune.result import training_of
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.caches import cache_all
from tasks.finetune.training.decoder import train_decoder
from tasks.finetune.training.intact import set_aside
from tasks.finetune.training.loop import train_unet
from tasks.finetune.training.lora import merged_weights
from tasks.finetune.training.lpips import decoder_lpips, load_lpips
from tasks.finetune.training.made import DecoderMade, DecoderProgress, UnetMade, UnetProgress
from tasks.finetune.training.objective import TrainingData
from tasks.finetune.training.parts import decoder_folder, decoder_steps, result_key, unet_folder, unet_steps
from tasks.finetune.training.precision import find_card, precision_for
from tasks.finetune.training.preview import draw_previews
from tasks.finetune.training.preview_files import keep_previews
from tasks.finetune.training.resume import Resume, alone_in, resume_from
from tasks.finetune.training.state import saved_progress, states_in
from tasks.finetune.training.steps_loop import LoopContext
from tasks.finetune.training.tensorboard import Report, log_snapshot, open_writer, with_tensorboard

# The first process may encode the data set, or write a snapshot, for this long while the others wait.
PATIENCE = timedelta(hours=12)
ATTEMPTS = 3  # of a training whose snapshots are lost while it runs
SMALL_RESOLUTION = 128  # px; for attention in bf16 on a CPU


@dataclass(frozen=True)
class Work:
    """What the parts of one training share: its pictures, where files go, the processes, and whom to tell.

    `base` is the identity of the base model; `epochs` maps the epochs of the snapshots to the UNet's steps.
    """

    settings: FinetuneSettings
    base: str
    trained: list[Row]
    held_out: list[Row]
    root: Path
    store: Store
    accelerator: Accelerator
    epochs: dict[int, int]
    report: Report
    stopping: Callable[[], bool]
    log: Callable[[str], None]
    drawn: Callable[[int, Path], None]


@dataclass(frozen=True)
class DecoderTrained:
    """What the decoder's part came to: one snapshot for each of the UNet's, none when it isn't trained."""

    snapshots: tuple[DecoderMade, ...] = ()
    lpips_before: float | None = None
    lpips_after: float | None = None


def train(
    job: TrainingJob,
    store: Store,
    report: Report = lambda stage, step: None,
    stopping: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = lambda line: None,
    drawn: Callable[[int, Path], None] = lambda epoch, folder: None,
) -> Training:
    """Fine-tune and return what came of it. A second call with the same job resumes, or returns the finished result.

    Jobs that share a part (pictures, UNet, decoder) in the same folder share what was made of it.
    `report` is called with "unet" or "decoder" after each step, `log` with lines for a person, `drawn` with the epoch
    whose previews were added to a folder; when `stopping()` turns true the state is saved and Interrupted raised.
    Raises DatasetError, ModelError, ResourceError and LossError, each one line, before time is spent if possible.
    """
    settings, root = job.settings, Path(job.folder)
    rows = split(read_rows(job.dataset, store), settings.held_out)
    base = model_identity(settings.base_model, settings.revision)
    key = result_key(rows, settings, base)
    _, result_file = job.files()
    if (done := _finished(result_file, key, store, log)) is not None:
        return done
    keep_freed_memory()
    count = len(rows[0])
    epochs = unet_steps(count, settings, settings.processes)
    folders = [unet_folder(root, rows, settings, base), decoder_folder(root, rows, settings, base)]
    made = saved_progress(folders[0], UnetProgress)
    preflight(
        settings, count, root, store, log,
        made=sum(made.has(step) for step in epochs.values() if step) if made else 0,
        state_bytes=sum(state.stat().st_size for folder in folders for state in states_in(folder)[:2]),
    )  # fmt: skip
    accelerator = _accelerator(settings)
    data = cache_all(*rows, settings, root, accelerator, log)
    work = Work(settings, base, *rows, root, store, accelerator, epochs, report, stopping, log, drawn)
    progress, decoder = _train_parts(work, data)
    result = training_of(job.dataset, settings, progress, epochs, decoder, data, base)
    if accelerator.is_main_process:
        write_training(result_file, key, result)
    return result


def _finished(path: Path, key: str, store: Store, log: Callable[[str], None]) -> Training | None:
    """The result of this training, if it has one whose snapshots are all there; else it is made from its parts."""
    if not path.exists():
        return None
    try:
        found, training = read_training(path)
    except (ValueError, OSError) as error:
        set_aside(path, first_line(error), log)
        return None
    files = [file for snapshot in training.snapshots for file in (snapshot.unet, snapshot.decoder) if file]
    return training if found == key and all(store.has(file.key) for file in files) else None


def _train_parts(work: Work, data: TrainingData) -> tuple[UnetProgress, DecoderTrained]:
    """Both parts, again if a snapshot was lost from the store meanwhile: that only makes what is missing."""
    for _ in range(ATTEMPTS):
        progress = _train_unet(work, data)
        work.accelerator.free_memory()  # it keeps the UNet and its optimizer; the decoder needs their room
        if not work.accelerator.is_main_process:
            return progress, DecoderTrained()
        decoder = _train_decoder(work, data)
        wanted = set(work.epochs.values())
        made = [*(one for one in progress.snapshots if one.step in wanted), *decoder.snapshots]
        lost = [one.file.key for one in made if one.file and not work.store.has(one.file.key)]
        if not lost:
            return progress, decoder
        if work.accelerator.num_processes > 1:
            break  # the others have left
        work.log(f"{len(lost)} of {len(made)} snapshots were lost from the store {work.store.root} while it trained")
    raise FinetuneError(
        f"snapshot {lost[0][:12]} was lost from the store {work.store.root} while the training ran; find out what "
        "deletes files there, then run the stage again: it makes what is missing"
    )


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


@contextmanager
def _begun(work: Work, folder: Path, kind: Any, wanted: set[int]) -> Iterator[tuple[Resume[Any], Any]]:
    """Where a part goes on, and the board that logs it; its folder is held meanwhile by the first process."""
    with alone_in(folder, work.log, work.stopping):
        resume = resume_from(folder, kind, wanted, work.store.has, work.log)
        writer = open_writer(folder, resume.progress.step)
        try:
            yield resume, writer
        finally:
            writer.close()


def _train_unet(work: Work, data: TrainingData) -> UnetProgress:
    """The UNet's part; in all processes, each of which begins where the first one says."""
    accelerator, wanted = work.accelerator, set(work.epochs.values())
    folder = unet_folder(work.root, (work.trained, work.held_out), work.settings, work.base)
    if not accelerator.is_main_process:
        told: list[Any] = [None]
        state, progress = broadcast_object_list(told)[0]
        return _unet_loop(work, data, folder, Resume(state, UnetProgress.model_validate_json(progress)), None)
    with _begun(work, folder, UnetProgress, wanted) as (resume, writer):
        if accelerator.num_processes > 1:
            broadcast_object_list([(resume.state, resume.progress.model_dump_json())])
        return _unet_loop(work, data, folder, resume, writer)


def _unet_loop(work: Work, data: TrainingData, folder: Path, resume: Resume[UnetMade], writer: Any) -> UnetProgress:
    if resume.complete(set(work.epochs.values())):
        return resume.progress
    settings, base = work.settings, (work.settings.base_model, work.settings.revision)
    scheduler: Any = load_part("scheduler", *base)
    unet: Any = load_part("unet", *base)
    if settings.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    set_attention(unet, settings, work.accelerator)

    def save(epoch: int, step: int, model: Any, losses: tuple[float | None, float | None, float | None]) -> UnetMade:
        train_loss, held, probe = losses
        pictures = []
        if data.previews:
            vae: Any = load_part("vae", *base)
            vae.to(work.accelerator.device)
            pictures = draw_previews(model, vae, scheduler, data.previews, settings.resolution, settings.seed)
            previews = folder / f"previews-{digest(settings.validation_prompts)[:8]}"
            keep_previews(pictures, epoch, previews)
            work.drawn(epoch, previews)
        figures = {"unet/heldout_loss": held, "unet/probe_loss": probe, "unet/epoch_loss": train_loss}
        log_snapshot(writer, step, figures, pictures)
        file = save_weights(UNET_FILE, merged_weights(model), work.base, work.store) if epoch else None
        return UnetMade(step=step, file=file, train_loss=train_loss, heldout_loss=held, probe_loss=probe)

    report = with_tensorboard(work.report, writer) if writer else work.report
    context = LoopContext(settings, folder, resume, work.accelerator, lambda step: report("unet", step), work.stopping)
    return train_unet(unet, scheduler, data, work.epochs, save, context)


def _train_decoder(work: Work, data: TrainingData) -> DecoderTrained:
    """The decoder's part. The first process trains it alone: it is a small part of the whole."""
    settings = work.settings
    if not settings.decoder_epochs:
        return DecoderTrained()
    steps = decoder_steps(len(work.trained), settings)
    folder = decoder_folder(work.root, (work.trained, work.held_out), settings, work.base)
    vae: Any = load_part("vae", settings.base_model, settings.revision)
    held = (data.held_out_latents, work.held_out) if data.held_out_latents else None
    weights = load_lpips(settings.lpips_weights) if held and settings.lpips_weights else None

    def perceived() -> float | None:
        if not held or not weights:
            return None
        return decoder_lpips(vae, *held, settings.resolution, work.accelerator.device, weights)

    with _begun(work, folder, DecoderProgress, set(steps.values())) as (resume, writer):

        def save(step: int, named: dict[str, torch.Tensor], psnr: float | None) -> DecoderMade:
            log_snapshot(writer, step, {"decoder/psnr": psnr}, [])
            file = save_weights(DECODER_FILE, named, work.base, work.store) if step else None
            return DecoderMade(step=step, file=file, psnr=psnr)

        report, before = with_tensorboard(work.report, writer), perceived()
        context = LoopContext(
            settings, folder, resume, work.accelerator, lambda step: report("decoder", step), work.stopping
        )
        progress = train_decoder(vae, (data.latents, work.trained), held, set(steps.values()), save, context)
        after = perceived()
    made = {one.step: one for one in progress.snapshots}
    return DecoderTrained(tuple(made[step] for step in steps.values()), before, after)
