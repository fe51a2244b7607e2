"""Small datasets, settings and runs of the fine-tuning for tests; the base model is that of tests/sample/tiny.py."""

# diffusers types its configurations as their defaults.
# pyright: reportArgumentType=false

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate.state import AcceleratorState
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image

from tasks.common.records import Training
from tasks.common.store import Store
from tasks.finetune.process.job import TrainingJob
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.made import UnetProgress
from tasks.finetune.training.state import saved_progress, states_in
from tasks.finetune.training.steps import Step
from tasks.finetune.training.train import train

SIDE = 32


def png(number: int) -> bytes:
    """A square on a coloured ground: place, size and colours follow from the number."""
    rng = np.random.default_rng(number)
    pixels = np.full((SIDE, SIDE, 3), rng.integers(0, 255, 3), dtype=np.uint8)
    top, left, size = rng.integers(4, 16, 3)
    pixels[top : top + size, left : left + size] = rng.integers(0, 255, 3)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write_able_base(base: str, folder: Path) -> str:
    """The tiny base with a UNet large enough to learn four pictures by heart, and a VAE with certain latents."""
    shutil.copytree(base, folder)
    torch.manual_seed(0)
    vae: Any = AutoencoderKL(
        block_out_channels=(16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        sample_size=32,
    )
    # Untrained, it says much the same of every picture (first half of the channels), with a variance of about 1.
    with torch.no_grad():
        vae.quant_conv.weight[:4] *= 30
        vae.quant_conv.weight[4:] = 0
        vae.quant_conv.bias[4:] = -20
    vae.save_pretrained(folder / "vae")
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=4,
    ).save_pretrained(folder / "unet")
    return str(folder)


def write_dataset(folder: Path, images: list[bytes], texts: list[str] | None = None) -> str:
    """A parquet dataset of these pictures; captions say their number unless given. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = texts or [f"a red car {i}" for i in range(len(images))]
    table = pa.table({"image": [{"bytes": image, "path": None} for image in images], "text": texts})
    pq.write_table(table, folder / "train.parquet")
    return str(folder)


def settings_for(base: str, **changes: Any) -> FinetuneSettings:
    """A few seconds of the plain recipe."""
    plain: dict[str, Any] = {
        "base_model": base,
        "resolution": SIDE,
        "epochs": 4,
        "snapshot_every": 2,
        "batch_size": 3,
        "learning_rate": 1e-3,
        "held_out": 0.2,
        "decoder_epochs": 1,
        "checkpoint_steps": 3,
    }
    return FinetuneSettings(**(plain | changes))


def run(dataset: str, settings: FinetuneSettings, folder: Path, store: Store, **callbacks: Any) -> Training:
    """Train in this process. Accelerate keeps its first precision for the life of a process unless told otherwise."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return train(TrainingJob(dataset=dataset, settings=settings, folder=str(folder)), store, **callbacks)


def states_of(part: str, folder: Path) -> list[Path]:
    """The states of the one `unet` or `decoder` trained in a folder, the farthest first."""
    (found,) = folder.glob(f"{part}-*")
    return states_in(found)


def progress_in(folder: Path) -> UnetProgress:
    """How far the one UNet trained in a folder has come."""
    (found,) = folder.glob("unet-*")
    progress = saved_progress(found, UnetProgress)
    assert progress
    return progress


def finished(folder: Path) -> list[Path]:
    """The results of the trainings in a folder."""
    return list(folder.glob("training-*.json"))


def train_in_child(job_json: str, store_root: str, done: Any) -> None:
    """For a process of its own that a test kills; `done.value` becomes the steps done of both loops together."""
    torch.set_num_threads(1)
    job = TrainingJob.model_validate_json(job_json)
    before: dict[str, int] = {"unet": 0}

    def count(stage: str, step: Step) -> None:
        if stage not in before:
            before[stage] = progress_in(Path(job.folder)).step
        done.value = before[stage] + step.step

    train(job, Store(store_root), count)
