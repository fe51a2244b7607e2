"""What a training left behind, as the record the other stages read."""

from typing import TYPE_CHECKING

from tasks.common.records import DatasetRef, EpochLoss, Snapshot, Training
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.made import UnetProgress

if TYPE_CHECKING:
    from tasks.finetune.training.objective import TrainingData
    from tasks.finetune.training.train import DecoderTrained


def training_of(
    dataset: DatasetRef | str, settings: FinetuneSettings, progress: UnetProgress, epochs: dict[int, int],
    decoder: "DecoderTrained", data: "TrainingData", base_identity: str,
) -> Training:  # fmt: skip
    """The Training of what the two parts made; `epochs` maps those of the snapshots to optimizer steps."""
    made = {one.step: one for one in progress.snapshots}
    steps = {epoch: step for epoch, step in epochs.items() if step in made}  # none where no snapshots are kept
    decoders = dict(zip(steps, decoder.snapshots, strict=True)) if decoder.snapshots else {}
    snapshots = tuple(
        Snapshot(
            epoch=epoch,
            step=step,
            weights="base" if epoch == 0 else "ema" if settings.ema_decay else "raw",
            unet=made[step].file,
            decoder=decoders[epoch].file if decoders else None,
            train_loss=made[step].train_loss,
            heldout_loss=made[step].heldout_loss,
            probe_loss=made[step].probe_loss,
            decoder_psnr=decoders[epoch].psnr if decoders else None,
        )
        for epoch, step in steps.items()
    )
    held = {snapshot.epoch: snapshot.heldout_loss for snapshot in snapshots}
    losses, per_epoch = progress.losses, max(epochs.values()) // settings.epochs
    means = [EpochLoss(epoch=0, train_loss=None, heldout_loss=held.get(0))] + [
        EpochLoss(epoch=e + 1, train_loss=sum(chunk) / len(chunk), heldout_loss=held.get(e + 1))
        for e in range(settings.epochs)
        if (chunk := losses[e * per_epoch : (e + 1) * per_epoch])
    ]
    return Training(
        base_model=settings.base_model,
        base_revision=settings.revision,
        base_identity=base_identity,
        dataset_fingerprint=dataset if isinstance(dataset, str) else dataset.fingerprint,
        snapshots=snapshots,
        losses=tuple(means),
        psnr_before=decoder.snapshots[0].psnr if decoders else None,
        psnr_after=decoder.snapshots[-1].psnr if decoders else None,
        lpips_before=decoder.lpips_before,
        lpips_after=decoder.lpips_after,
        truncated_captions=data.text.truncated,
        images_trained=len(data.latents.ids),
        images_held_out=len(data.held_out_latents.ids) if data.held_out_latents else 0,
    )


def turning_point(training: Training) -> int | None:
    """The epoch of the lowest held-out loss when a later snapshot is worse, so overfitting began; else None."""
    held = [(e.heldout_loss, e.epoch) for e in training.losses if e.heldout_loss is not None]
    if not held:
        return None
    _, epoch = min(held)
    return epoch if epoch < held[-1][1] else None


def summary(training: Training) -> str:
    """Markdown: the loss curves as a table of the snapshots' epochs, and what there is to know beside them."""
    turn = turning_point(training)
    lines = ["| epoch | train loss | held-out loss | decoder PSNR (dB) | |", "|---:|---:|---:|---:|---|"]
    for snapshot in training.snapshots:
        mark = "held-out loss turns here" if snapshot.epoch == turn else ""
        figures = (snapshot.train_loss, snapshot.heldout_loss, snapshot.decoder_psnr)
        cells = ["–" if x is None else f"{x:.4f}" for x in figures[:2]] + [
            "–" if figures[2] is None else f"{figures[2]:.2f}"
        ]
        lines.append(f"| {snapshot.epoch} | {' | '.join(cells)} | {mark} |")
    size = sum(file.bytes for s in training.snapshots for file in (s.unet, s.decoder) if file)
    lines += [
        "",
        f"{training.images_trained} pictures trained on, {training.images_held_out} held out, "
        f"{training.truncated_captions} captions cut; snapshots take {size / 2**30:.2f} GiB.",
    ]
    if training.lpips_before is not None and training.lpips_after is not None:
        lines.append(f"Decoder LPIPS on them: {training.lpips_before:.4f} before, {training.lpips_after:.4f} after.")
    return "\n".join(lines)
