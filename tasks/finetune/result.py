"""What a training left behind, as the record the other stages read."""

from typing import TYPE_CHECKING, Any

from tasks.finetune.settings import FinetuneSettings
from tasks.records import DatasetRef, EpochLoss, Snapshot, StoredFile, Training

if TYPE_CHECKING:
    from tasks.finetune.objective import TrainingData


def training_of(
    dataset: DatasetRef | str, settings: FinetuneSettings, progress: dict[str, Any], decoders: list[dict[str, Any]],
    data: "TrainingData", per_epoch: int,
) -> Training:  # fmt: skip
    """The Training of what the two loops kept in their progress; `per_epoch` is optimizer steps."""
    snapshots = tuple(
        Snapshot(
            **{k: made[k] for k in ("epoch", "step", "train_loss", "heldout_loss")},
            weights="base" if made["epoch"] == 0 else "ema" if settings.ema_decay else "raw",
            unet=StoredFile(**made["unet"]) if made["unet"] else None,
            decoder=StoredFile(**decoder["file"]) if decoder["file"] else None,
            decoder_psnr=decoder["psnr"],
        )
        for made, decoder in zip(
            progress["snapshots"], decoders or [{"file": None, "psnr": None}] * len(progress["snapshots"]), strict=True
        )
    )
    held = {snapshot.epoch: snapshot.heldout_loss for snapshot in snapshots}
    losses = progress["losses"]
    epochs = [EpochLoss(epoch=0, train_loss=None, heldout_loss=held.get(0))] + [
        EpochLoss(epoch=e + 1, train_loss=sum(chunk) / len(chunk), heldout_loss=held.get(e + 1))
        for e in range(settings.epochs)
        if (chunk := losses[e * per_epoch : (e + 1) * per_epoch])
    ]
    return Training(
        base_model=settings.base_model,
        base_revision=settings.revision,
        dataset_fingerprint=dataset if isinstance(dataset, str) else dataset.fingerprint,
        snapshots=snapshots,
        losses=tuple(epochs),
        psnr_before=decoders[0]["psnr"] if decoders else None,
        psnr_after=decoders[-1]["psnr"] if decoders else None,
        lpips_before=decoders[0]["lpips"] if decoders else None,
        lpips_after=decoders[-1]["lpips"] if decoders else None,
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
        shown = ["–" if x is None else f"{x:.4f}" for x in figures[:2]] + [
            "–" if figures[2] is None else f"{figures[2]:.2f}"
        ]
        lines.append(f"| {snapshot.epoch} | {' | '.join(shown)} | {mark} |")
    size = sum(file.bytes for s in training.snapshots for file in (s.unet, s.decoder) if file)
    lines += [
        "",
        f"{training.images_trained} pictures trained on, {training.images_held_out} held out, "
        f"{training.truncated_captions} captions cut; snapshots take {size / 2**30:.2f} GiB.",
    ]
    if training.lpips_before is not None and training.lpips_after is not None:
        lines.append(f"Decoder LPIPS on them: {training.lpips_before:.4f} before, {training.lpips_after:.4f} after.")
    return "\n".join(lines)
