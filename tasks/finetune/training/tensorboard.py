"""TensorBoard logs of a training, in its folder: `tensorboard --logdir <training folder>`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from tasks.finetune.training.steps import Step

Report = Callable[[str, Step], None]


def open_writer(folder: Path, first_step: int) -> SummaryWriter:
    """A writer that goes on at `first_step`: what a killed run logged after its last save is hidden."""
    return SummaryWriter(str(folder / "tensorboard"), purge_step=first_step or None)


def with_tensorboard(report: Report, writer: SummaryWriter) -> Report:
    """A report that also logs loss, learning rate and speed of each step."""

    def told(stage: str, step: Step) -> None:
        writer.add_scalar(f"{stage}/loss", step.loss, step.step)
        writer.add_scalar(f"{stage}/learning_rate", step.learning_rate, step.step)
        writer.add_scalar(f"{stage}/images_per_second", step.images_per_second, step.step)
        report(stage, step)

    return told


def log_snapshot(
    writer: SummaryWriter, step: int, figures: dict[str, float | None], pictures: list[Image.Image]
) -> None:
    """Log a snapshot's figures (those that are there) and its previews."""
    for name, value in figures.items():
        if value is not None:
            writer.add_scalar(name, value, step)
    for i, picture in enumerate(pictures):
        pixels: Any = np.asarray(picture)
        writer.add_image(f"preview/{i}", pixels, step, dataformats="HWC")
