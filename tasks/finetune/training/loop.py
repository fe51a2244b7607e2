"""The UNet's training loop: plain accelerate over cached latents and text, resumable to the bit.

Every number in it is a function of (seed, step, picture id), so {weights, optimizer, EMA, step} is all it takes
to go on after a kill exactly as if nothing had happened.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from diffusers import DDPMScheduler, UNet2DConditionModel

from tasks.finetune.errors import LossError
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.loss import draw, learning_rate
from tasks.finetune.training.made import UnetMade, UnetProgress
from tasks.finetune.training.objective import Objective, TrainingData, held_out_loss, predict, probe_loss
from tasks.finetune.training.steps import StepInput, plan
from tasks.finetune.training.steps_loop import LoopContext, LoopParts, go_through_steps
from tasks.finetune.training.train_state import TrainState, as_snapshot, prepare, save

# (epoch, step, UNet with the snapshot's weights, losses: train (mean of the epoch), held-out, probe) → what was made
SaveSnapshot = Callable[[int, int, torch.nn.Module, tuple[float | None, float | None, float | None]], UnetMade]


def train_unet(
    unet: UNet2DConditionModel, scheduler: DDPMScheduler, data: TrainingData, epochs: dict[int, int],
    save_snapshot: SaveSnapshot, context: LoopContext[UnetMade],
) -> UnetProgress:  # fmt: skip
    """Train in place from `context.resume` to the last of the steps in `epochs` (epoch → step); returns the progress.

    After each of them it has a snapshot, made by `save_snapshot` unless it is there already.
    Raises LossError before the optimizer moves when a loss is not finite, and Interrupted, with the state saved,
    when `context.stopping()` turns true.
    """
    settings, accelerator = context.settings, context.accelerator
    train_state = prepare(unet, settings, context.resume, accelerator)
    progress, count, steps = train_state.progress, len(data.latents.ids), max(epochs.values())
    batch, per_epoch = plan(count, settings, accelerator.num_processes)
    epoch_of = {step: epoch for epoch, step in epochs.items()}

    def snapshot() -> None:
        epoch = epoch_of[progress.step]
        with as_snapshot(train_state) as model:
            held = held_out_loss(model, data, settings, scheduler, accelerator.device)
            probe = probe_loss(model, data, settings, scheduler, accelerator.device)
            losses = progress.losses[(epoch - 1) * per_epoch : epoch * per_epoch] if epoch else []
            mean = sum(losses) / len(losses) if losses else None
            if accelerator.is_main_process:
                progress.add(save_snapshot(epoch, progress.step, model, (mean, held, probe)))

    parts = LoopParts(
        name="training", count=count, batch=batch, per_epoch=per_epoch, steps=steps, wanted=set(epoch_of),
        rate=lambda step: learning_rate(step, steps, settings),
        optimize=lambda given: optimize(train_state, given, data, scheduler, settings, accelerator),
        snapshot=snapshot,
        save=lambda: save(train_state, context.folder, accelerator),
    )  # fmt: skip
    together = replace(context, stopping=lambda: _agreed(context.stopping(), accelerator))
    return go_through_steps(parts, together)


def optimize(
    train_state: TrainState, given: StepInput, data: TrainingData,
    scheduler: DDPMScheduler, settings: FinetuneSettings, accelerator: Accelerator,
) -> float:  # fmt: skip
    """One optimizer step over the given pictures, shared among the processes; returns their mean loss."""
    ids, shape = data.latents.ids, data.latents.mean.shape[1:]
    timesteps, size = int(scheduler.config["num_train_timesteps"]), settings.batch_size
    rows = given.rows[accelerator.process_index :: accelerator.num_processes]
    objective = Objective(scheduler, accelerator.device, settings.min_snr_gamma)
    total, seen = torch.zeros((), device=accelerator.device), []
    for start in range(0, len(rows), size):
        micro = rows[start : start + size]
        draws = [draw(settings.seed, given.step, ids[r], shape, settings, timesteps) for r in micro]
        last = start + size >= len(rows)
        synced = contextlib.nullcontext() if last else accelerator.no_sync(train_state.forward)
        with synced, accelerator.autocast():
            losses = predict(train_state.forward, data.latents, data.text, micro, draws, objective)
            loss = losses.sum() / len(rows)
            accelerator.backward(loss)
        total += loss.detach()
        seen.append(([(ids[r][:12], d.timestep) for r, d in zip(micro, draws, strict=True)], losses.detach()))
    mean_loss = accelerator.reduce(total, "mean").item()  # type: ignore[union-attr]
    if not math.isfinite(mean_loss):
        bad = [named for names, losses in seen for named, x in zip(names, losses, strict=True) if not x.isfinite()]
        pictures = ", ".join(f"{name} at timestep {t}" for name, t in gather_object(bad)[:8])
        raise LossError(
            f"loss is {mean_loss} at step {given.step}, pictures {pictures}; lower learning_rate or remove them"
        )
    _move(train_state, given, mean_loss, settings, accelerator)
    return mean_loss


def _move(
    train_state: TrainState, given: StepInput, loss: float, settings: FinetuneSettings, accelerator: Accelerator
) -> None:  # fmt: skip
    """Clip the gradients, move the weights by them and the moving average after them.

    In fp16 gradients too large for the loss's scale make accelerate leave the step out and halve the scale; such steps
    are counted, for the optimizer didn't.
    """
    norm = accelerator.clip_grad_norm_(train_state.named.values(), settings.max_grad_norm).item()  # type: ignore[union-attr]
    if not math.isfinite(norm):
        if accelerator.scaler is None or accelerator.scaler.get_scale() <= 1:
            raise LossError(
                f"gradient is {norm} at step {given.step} though the loss is {loss:.3g}; lower learning_rate"
            )
        train_state.progress.skipped += 1
    for group in train_state.optimizer.param_groups:
        group["lr"] = given.rate
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
