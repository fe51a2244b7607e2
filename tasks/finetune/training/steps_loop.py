"""The loop that every part of a training goes through: steps, snapshots after the wanted ones, states, and a stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from accelerate import Accelerator

from tasks.finetune.errors import Interrupted
from tasks.finetune.memory.prediction import peak_memory
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.loss import order
from tasks.finetune.training.made import Progress, S
from tasks.finetune.training.resume import Resume
from tasks.finetune.training.steps import Step, StepInput


@dataclass(frozen=True)
class LoopContext(Generic[S]):
    """Where a loop begins and puts its states (`folder`), the processes that train, and whom it tells and asks."""

    settings: FinetuneSettings
    folder: Path
    resume: Resume[S]
    accelerator: Accelerator
    report: Callable[[Step], None]
    stopping: Callable[[], bool]


@dataclass(frozen=True)
class LoopParts:
    """What one loop does at each place, and how far it goes: each step takes `batch` of `count` pictures.

    `optimize` takes a step at the learning rate that `rate` has for it, and returns the loss. `snapshot` adds what it
    made to the progress, `save` writes the state after the step of the progress.
    """

    name: str
    count: int
    batch: int
    per_epoch: int
    steps: int
    wanted: set[int]
    rate: Callable[[int], float]
    optimize: Callable[[StepInput], float]
    snapshot: Callable[[], None]
    save: Callable[[], None]


def go_through_steps(parts: LoopParts, context: LoopContext[S]) -> Progress[S]:
    """From the step of `context.resume` to `parts.steps`; returns the progress, which is changed in place.

    A wanted step whose snapshot is there already is passed. Raises Interrupted, with the state saved, when
    `context.stopping()` turns true; it is asked once before the first step, and always one step is done.
    """
    progress, settings, steps = context.resume.progress, context.settings, parts.steps
    missing = {step for step in parts.wanted if not progress.has(step)}
    began, first = time.monotonic(), progress.step
    if first in missing:
        parts.snapshot()
    # All processes look from here on, and stop after a step: none may leave another in the middle of one.
    context.stopping()
    for step in range(first, steps):
        epoch, within = divmod(step, parts.per_epoch)
        rows = order(settings.seed, epoch, parts.count)[within * parts.batch : (within + 1) * parts.batch]
        rate = parts.rate(step)
        loss = parts.optimize(StepInput(step, rows, rate))
        done = progress.step = step + 1
        progress.losses.append(loss)
        took = (time.monotonic() - began) / (done - first)
        peak, left = peak_memory(context.accelerator.device), took * (steps - done)
        context.report(Step(done, steps, done / parts.per_epoch, loss, rate, parts.batch / took, peak, left))
        if done in missing:
            parts.snapshot()
        stop, last = context.stopping(), done == steps
        if last or stop or done in missing or done % settings.checkpoint_steps == 0:
            parts.save()
        if stop and not last:
            raise Interrupted(
                f"{parts.name} stopped at step {done} of {steps}; run the stage again to go on from there"
            )
    return progress
