"""A rehearsal at real size, before a long training: the true architectures, two steps, one snapshot, one picture."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from tasks.common.records import Record, Snapshot
from tasks.common.rows import read_rows
from tasks.common.store import Store
from tasks.diffusion.assemble import assemble
from tasks.diffusion.loading import load_part
from tasks.finetune.memory.peaks import DRAWN_AT_ONCE, Machine, load_base_configs, predict_peaks
from tasks.finetune.memory.prediction import GIB, disk_budget, peak_memory, sizes_of
from tasks.finetune.memory.stable_diffusion import write_random_base
from tasks.finetune.process.job import TrainingJob
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.baseline import in_loop_step, plain_optimizer
from tasks.finetune.training.precision import find_card, precision_for
from tasks.finetune.training.steps import Step, describe
from tasks.finetune.training.train import train

STEPS = 2
COMPARED_STEPS = 4  # to compare: the first two are slower, for every buffer is new
CARD = 22 * GIB  # of 24 GB a card leaves 23.5 GiB, and its allocator and cuDNN waste some


class Report(Record):
    """What a rehearsal found. Bytes and seconds; predictions are for the settings given, not for the two steps."""

    parameters: int
    trained_parameters: int
    resolution: int
    losses: tuple[float, ...]
    seconds_per_step: float
    encoding_in_the_loop: float | None
    peak_memory: int
    snapshot_bytes: int
    predicted_peaks: tuple[tuple[str, int], ...]
    predicted_gpu_memory: int
    predicted_disk: int
    fits_a_24_gb_gpu: bool

    def __str__(self) -> str:
        remedy = "set gradient_checkpointing, or lower batch_size or resolution"
        verdict = "would do" if self.fits_a_24_gb_gpu else f"would not do; {remedy}"
        compared = (
            f"encoding in the loop {self.encoding_in_the_loop:.1f} s a step, "
            f"{self.encoding_in_the_loop / self.seconds_per_step:.2f} times ours"
            if self.encoding_in_the_loop
            else "not compared with encoding in the loop"
        )
        return "\n".join(
            [
                f"parameters       {self.parameters / 1e6:.1f} M, of which {self.trained_parameters / 1e6:.1f} M train",
                f"here             {len(self.losses)} steps, {self.resolution} px, {self.seconds_per_step:.1f} s each",
                f"                 {compared}",
                f"losses           {', '.join(f'{loss:.4f}' for loss in self.losses)}",
                f"peak memory      {self.peak_memory / GIB:.1f} GiB",
                f"snapshot         {self.snapshot_bytes / GIB:.2f} GiB on disk; saved, loaded and sampled from",
                *(f"predicted GPU    {size / GIB:.1f} GiB {stage}" for stage, size in self.predicted_peaks),
                f"                 {self.predicted_gpu_memory / GIB:.1f} GiB at most: a 24 GB GPU {verdict}",
                f"predicted disk   {self.predicted_disk / GIB:.1f} GiB for the whole training",
            ]
        )


def rehearse(
    settings: FinetuneSettings,
    compare: bool = False,
    log: Callable[[str], None] = print,
    write_base: Callable[[Path], None] = write_random_base,
    drawn: int = DRAWN_AT_ONCE,
) -> Report:
    """Two optimizer steps of one picture each at `settings.resolution` with gradient checkpointing, no download.

    Saves a thin snapshot, loads it into a pipeline and samples two steps. With `compare` it takes four steps, and the
    same steps once more with images and captions encoded in the loop; the last two of each are timed.
    `drawn` is how many pictures the sample stage draws at once, for the prediction of its memory.
    About 20 GiB of memory and 20 GiB of disk, all given back.
    """
    with tempfile.TemporaryDirectory(prefix="wikistyle-rehearsal-") as name:
        folder = Path(name)
        log("building the models")
        write_base(folder / "base")
        small = _shortened(settings, folder / "base")
        write_noise(folder / "data", COMPARED_STEPS if compare else STEPS, small.resolution)
        report, store = _predict(settings, small, drawn), Store(str(folder / "store"))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        snapshot, update = _trained(folder, small, store, device, log)
        log("sampling from the snapshot")
        assemble(small.base_model, None, snapshot, folder / "model", store)
        _sample(folder / "model", small.resolution, device)
        if compare:
            log("the same steps, encoding in the loop")
            update["encoding_in_the_loop"] = _seconds_in_the_loop(small, str(folder / "data"), store, device)
        return report.model_copy(update=update)


def _shortened(settings: FinetuneSettings, base: Path) -> FinetuneSettings:
    """The same training of `base` for one epoch of steps of one picture each, and nothing beside it."""
    return settings.model_copy(
        update={
            "base_model": str(base), "revision": None, "batch_size": 1, "gradient_accumulation": 1,
            "gradient_checkpointing": True, "epochs": 1, "snapshot_every": 1, "held_out": 0.0,
            "decoder_epochs": 0, "ema_decay": 0.0, "processes": 1, "validation_prompts": (),
        }
    )  # fmt: skip


def _trained(
    folder: Path, small: FinetuneSettings, store: Store, device: torch.device, log: Callable[[str], None]
) -> tuple[Snapshot, dict[str, Any]]:
    """The last snapshot of a training of the pictures in the folder, and what the report says of the training."""
    steps: list[tuple[float, Step]] = []

    def seen(stage: str, step: Step) -> None:
        steps.append((time.monotonic(), step))
        log(f"step {step.step}: {describe(step)}")

    job = TrainingJob(dataset=str(folder / "data"), settings=small, folder=str(folder / "training"))
    snapshot = train(job, store, seen, log=log).snapshots[-1]
    timed = len(steps) // 2  # the last half
    return snapshot, {
        "losses": tuple(step.loss for _, step in steps),
        "seconds_per_step": (steps[-1][0] - steps[-1 - timed][0]) / timed,
        "peak_memory": peak_memory(device),
        "snapshot_bytes": snapshot.unet.bytes if snapshot.unet else 0,
    }


def _predict(settings: FinetuneSettings, small: FinetuneSettings, drawn: int) -> Report:
    """For a card with bf16, unless fp32 is asked for: the rehearsal itself may run on a machine without one."""
    base = load_base_configs(small.base_model, None)
    sizes = sizes_of(base.unet, base.vae, settings)
    machine = Machine("no" if settings.mixed_precision == "no" else "bf16", gpu=True)
    peaks = tuple((peak.stage, peak.bytes) for peak in predict_peaks(base, settings, machine, drawn))
    gpu, disk = max(size for _, size in peaks), disk_budget(sizes, settings, 1000, 0, 0)
    return Report(
        parameters=sizes.unet,
        trained_parameters=sizes.trained,
        resolution=small.resolution,
        losses=(),
        seconds_per_step=0,
        encoding_in_the_loop=None,
        peak_memory=0,
        snapshot_bytes=0,
        predicted_peaks=peaks,
        predicted_gpu_memory=gpu,
        predicted_disk=disk.snapshots + disk.state + disk.cache,
        fits_a_24_gb_gpu=gpu < CARD,
    )


def write_noise(folder: Path, count: int, resolution: int) -> str:
    """A dataset of square JPEGs of noise, which take as long to decode and encode as any; returns the new folder."""
    folder.mkdir()
    images = []
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 255, (resolution, resolution, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(noise).save(out, "JPEG")
        images.append({"bytes": out.getvalue(), "path": None})
    texts = [f"a drawing of number {number}" for number in range(count)]
    pq.write_table(pa.table({"image": images, "text": texts}), folder / "train.parquet")
    return str(folder)


def _sample(model: Path, resolution: int, device: torch.device) -> None:
    from diffusers import StableDiffusionPipeline

    dtype = torch.float16 if device.type == "cuda" else torch.float32
    pipe: Any = StableDiffusionPipeline.from_pretrained(model, safety_checker=None, dtype=dtype)
    pipe.to(device).set_progress_bar_config(disable=True)
    pipe("a cat", num_inference_steps=2, height=resolution, width=resolution)


def _seconds_in_the_loop(settings: FinetuneSettings, dataset: str, store: Store, device: torch.device) -> float:
    base = (settings.base_model, None)
    parts: dict[str, Any] = {
        kind: load_part(kind, *base) for kind in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    }
    # The frozen parts wholly in bf16, as diffusers' own script has them.
    halved = precision_for(settings, find_card()) == "bf16"
    for kind in ("vae", "text_encoder"):
        parts[kind].eval().requires_grad_(False).to(device, torch.bfloat16 if halved else torch.float32)
    parts["unet"].train().enable_gradient_checkpointing()
    optimizer = plain_optimizer(parts["unet"].to(device).parameters(), settings)
    rows = read_rows(dataset, store)
    autocast = torch.autocast(device.type, torch.bfloat16) if halved else contextlib.nullcontext()
    began = 0.0
    for number, row in enumerate(rows):
        if number == len(rows) // 2:
            began = time.monotonic()
        in_loop_step([row], parts, optimizer, settings.resolution, autocast)
    return (time.monotonic() - began) / (len(rows) - len(rows) // 2)
