"""The steps of a training: how many there are, and what is told of each."""

from dataclasses import dataclass

from tasks.finetune.settings import FinetuneSettings


def plan(count: int, settings: FinetuneSettings, processes: int) -> tuple[int, int]:
    """(pictures per optimizer step, optimizer steps per epoch). A last partial batch waits for the next epoch."""
    batch = settings.batch_size * settings.gradient_accumulation * processes
    batch = min(batch, max(processes, count - count % processes))
    return batch, max(1, count // batch)


@dataclass(frozen=True)
class Step:
    """What the loop tells of itself after each optimizer step.

    `images_per_second` is of this run, `peak_memory` in bytes: of the GPU, or of the process without one;
    `seconds_left` until the last step at this run's speed.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    images_per_second: float
    peak_memory: int = 0
    seconds_left: float = 0.0


@dataclass(frozen=True)
class StepInput:
    """What an optimizer step is given: its number, the rows of its pictures, and the learning rate."""

    step: int
    rows: list[int]
    rate: float


def describe(step: Step) -> str:
    """A step in a line, to be shown beside a progress bar."""
    return (
        f"loss {step.loss:.4f}, lr {step.learning_rate:.1e}, {step.images_per_second:.0f} images/s, "
        f"{step.peak_memory / 2**30:.1f} GiB, {step.seconds_left / 60:.0f} min left"
    )
