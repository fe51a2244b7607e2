"""The finished model as a plain Stable Diffusion pipeline folder, which needs no wikistyle to load."""

import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from tasks.finetune.errors import ModelError
from tasks.records import Snapshot
from tasks.store import Store


def assemble(base_model: str, revision: str | None, snapshot: Snapshot, folder: Path, store: Store) -> None:
    """Write base model + snapshot as fp16 safetensors to `folder` (replaced as a whole, never half written).

    `StableDiffusionPipeline.from_pretrained(folder)` loads it. Raises ModelError when the base cannot be loaded.
    """
    from diffusers import StableDiffusionPipeline

    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            base_model, revision=revision, safety_checker=None, requires_safety_checker=False, use_safetensors=True
        )
    except Exception as error:
        raise ModelError(
            f"base model {base_model} can't be loaded ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "check the id and revision, connect to the hub, or give a local folder"
        ) from error
    if snapshot.unet:
        pipeline.unet.load_state_dict(load_file(store.path(snapshot.unet.key)))
    if snapshot.decoder:
        missing = pipeline.vae.load_state_dict(load_file(store.path(snapshot.decoder.key)), strict=False)
        if missing.unexpected_keys:
            raise ModelError(f"snapshot of epoch {snapshot.epoch} is of another base model than {base_model}")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
