"""The UNet's training loop: plain accelerate over cached latents and text, resumable to the bit.

Every number in it is a function of (seed, step, picture id), so {weights, optimizer, EMA, step} is all it takes
to go on after a kill exactly as if nothing had happened.
"""

# diffusers names its classes lazily.
# pyright: reportPrivateImportUsage=false

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from diffusers import DDPMScheduler, UNet2DConditionModel

from tasks.finetune.errors import Interrupted, LossError
from tasks.finetune.memory.prediction import peak_memory
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.loss import draw, learning_rate, order
from tasks.finetune.training.made import UnetMade, UnetProgress
from tasks.finetune.training.objective import TrainingData, held_out_loss, predict
from tasks.finetune.training.resume import Resume
from tasks.finetune.training.steps import Step, plan
from tasks.finetune.training.train_state import TrainState, as_snapshot, prepare, save

# (epoch, step, UNet with the snapshot's weights, mean train loss of the epoch, held-out loss) → what was made
SaveSnapshot = Callable[[int, int, torch.nn.Module, float | None, float | None], UnetMade]


def train_unet(
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    data: TrainingData,
    settings: FinetuneSettings,
    folder: Path,
    resume: Resume[UnetMade],
    epochs: dict[int, int],
    accelerator: Accelerator,
    save_snapshot: SaveSnapshot,
    report: Callable[[Step], None],
    stopping: Callable[[], bool],
) -> UnetProgress:
    """Train in place from `resume` to the last of the steps in `epochs` (epoch → step); returns the progress.

    After each of them it has a snapshot, made by `save_snapshot` unless it is there already. States go to `folder`.
    Raises LossError before the optimizer moves when a loss is not finite, and Interrupted, with the state saved,
    when `stopping()` turns true.
    """
    train_state = prepare(unet, settings, resume, accelerator)
    progress, ids = train_state.progress, data.latents.ids
    batch, per_epoch = plan(len(ids), settings, accelerator.num_processes)
    steps, began, first = max(epochs.values()), time.monotonic(), progress.step
    missing = {step: epoch for epoch, step in epochs.items() if not progress.has(step)}

    def snapshot(epoch: int) -> None:
        with as_snapshot(train_state) as model:
            held = held_out_loss(model, data, settings, scheduler, accelerator.device)
            losses = progress.losses[(epoch - 1) * per_epoch : epoch * per_epoch] if epoch else []
            mean = sum(losses) / len(losses) if losses else None
            if accelerator.is_main_process:
                progress.add(save_snapshot(epoch, progress.step, model, mean, held))

    if progress.step in missing:
        snapshot(missing[progress.step])
    # All processes look from here on, and stop after a step: none may leave another in the middle of one.
    _agreed(stopping(), accelerator)
    for step in range(progress.step, steps):
        epoch, within = divmod(step, per_epoch)
        rate = learning_rate(step, steps, settings)
        rows = order(settings.seed, epoch, len(ids))[within * batch : (within + 1) * batch]
        loss = optimize(train_state, rows, step, rate, data, scheduler, settings, accelerator)
        progress.step = step + 1
        progress.losses.append(loss)
        took = (time.monotonic() - began) / (step + 1 - first)
        peak, left = peak_memory(accelerator.device), took * (steps - step - 1)
        report(Step(step + 1, steps, (step + 1) / per_epoch, loss, rate, batch / took, peak, left))
        last = step + 1 == steps
        if step + 1 in missing:
            snapshot(missing[step + 1])
        stop = _agreed(stopping(), accelerator)
        if last or step + 1 in missing or stop or (step + 1) % settings.checkpoint_steps == 0:
            save(train_state, folder, accelerator)
        if stop and not last:
            raise Interrupted(
                f"training stopped at step {step + 1} of {steps}; run the stage again to go on from there"
            )
    return progress


def optimize(
    train_state: TrainState, rows: list[int], step: int, rate: float, data: TrainingData,
    scheduler: DDPMScheduler, settings: FinetuneSettings, accelerator: Accelerator,
) -> float:  # fmt: skip
    """One optimizer step over these pictures, shared among the processes; returns their mean loss."""
    ids, shape = data.latents.ids, data.latents.mean.shape[1:]
    timesteps, size = int(scheduler.config["num_train_timesteps"]), settings.batch_size
    rows = rows[accelerator.process_index :: accelerator.num_processes]
    total, seen = torch.zeros((), device=accelerator.device), []
    for start in range(0, len(rows), size):
        micro = rows[start : start + size]
        draws = [draw(settings.seed, step, ids[r], shape, settings, timesteps) for r in micro]
        last = start + size >= len(rows)
        synced = contextlib.nullcontext() if last else accelerator.no_sync(train_state.forward)
        with synced, accelerator.autocast():
            losses = predict(
                train_state.forward, data.latents, data.text, micro, draws, scheduler, accelerator.device,
                settings.min_snr_gamma,
            )  # fmt: skip
            loss = losses.sum() / len(rows)
            accelerator.backward(loss)
        total += loss.detach()
        seen.append(([(ids[r][:12], d.timestep) for r, d in zip(micro, draws, strict=True)], losses.detach()))
    mean_loss = accelerator.reduce(total, "mean").item()  # type: ignore[union-attr]
    if not math.isfinite(mean_loss):
        bad = [named for names, losses in seen for named, x in zip(names, losses, strict=True) if not x.isfinite()]
        pictures = ", ".join(f"{name} at timestep {t}" for name, t in gather_object(bad)[:8])
        raise LossError(f"loss is {mean_loss} at step {step}, pictures {pictures}; lower learning_rate or remove them")
    _move(train_state, step, mean_loss, rate, settings, accelerator)
    return mean_loss


def _move(
    train_state: TrainState, step: int, loss: float, rate: float, settings: FinetuneSettings, accelerator: Accelerator
) -> None:  # fmt: skip
    """Clip the gradients, move the weights by them and the moving average after them.

    In fp16 gradients too large for the loss's scale make accelerate leave the step out and halve the scale; such steps
    are counted, for the optimizer didn't.
    """
    norm = accelerator.clip_grad_norm_(train_state.named.values(), settings.max_grad_norm).item()  # type: ignore[union-attr]
    if not math.isfinite(norm):
        if accelerator.scaler is None or accelerator.scaler.get_scale() <= 1:
            raise LossError(f"gradient is {norm} at step {step} though the loss is {loss:.3g}; lower learning_rate")
        train_state.progress.skipped += 1
    for group in train_state.optimizer.param_groups:
        group["lr"] = rate
    train_state.optimizer.step()
    train_state.optimizer.zero_grad(set_to_none=True)
    if train_state.ema:
        train_state.ema.step(train_state.named.values())


def _agreed(stop: bool, accelerator: Accelerator) -> bool:
    """Whether any process was asked to stop: all stop after the same step, or none."""
    if accelerator.num_processes == 1:
        return stop
    asked = torch.tensor(float(stop), device=accelerator.device)
    return bool(accelerator.reduce(asked, "sum").item())  # type: ignore[union-attr]
