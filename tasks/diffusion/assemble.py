"""The finished model as a plain Stable Diffusion pipeline folder, which needs no wikistyle to load."""

# diffusers names its classes lazily.
# pyright: reportPrivateImportUsage=false

from pathlib import Path

import torch

from tasks.common.errors import ModelError, first_line
from tasks.common.files import replace_folder
from tasks.common.model_id import model_identity
from tasks.common.records import Snapshot
from tasks.common.store import Store
from tasks.diffusion.snapshots import decoder_parameters, load_weights


def assemble(base_model: str, revision: str | None, snapshot: Snapshot, folder: Path, store: Store) -> None:
    """Write base model + snapshot as fp16 safetensors to `folder`, new or empty: whole, or not at all.

    `StableDiffusionPipeline.from_pretrained(folder)` loads it. Raises ModelError when the base cannot
    be loaded or the snapshot was trained from another, FolderError when the folder holds something.
    """
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.disable_progress_bar()
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            base_model, revision=revision, safety_checker=None, requires_safety_checker=False, use_safetensors=True
        )
    except Exception as error:
        raise ModelError(
            f"base model {base_model} can't be loaded ({first_line(error)}); "
            "check the id and revision, connect to the hub, or give a local folder"
        ) from error
    base = model_identity(base_model, revision)
    if snapshot.unet:
        _put(pipeline.unet, load_weights(snapshot.unet, base, store), snapshot, base_model)
    if snapshot.decoder:
        encoder = {k: v for k, v in pipeline.vae.state_dict().items() if k not in decoder_parameters(pipeline.vae)}
        _put(pipeline.vae, encoder | load_weights(snapshot.decoder, base, store), snapshot, base_model)
    replace_folder(folder, pipeline.to(torch.float16).save_pretrained)


def _put(model: torch.nn.Module, weights: dict[str, torch.Tensor], snapshot: Snapshot, base_model: str) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"snapshot of epoch {snapshot.epoch} does not fit base model {base_model} "
            f"({' '.join(str(error).split())[:120]}); use the base model it was trained from"
        ) from error
