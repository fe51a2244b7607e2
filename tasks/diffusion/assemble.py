"""The finished model as a plain Stable Diffusion pipeline folder, which needs no wikistyle to load."""

from pathlib import Path

import torch

from tasks.common.files import replace_folder
from tasks.common.records import Snapshot
from tasks.common.store import Store
from tasks.diffusion.between import put_strength
from tasks.diffusion.pipeline import load_base


def assemble(
    base_model: str, revision: str | None, snapshot: Snapshot, folder: Path, store: Store, strength: float = 1.0
) -> None:
    """Write base model + snapshot as fp16 safetensors to `folder`, new or empty: whole, or not at all.

    At a `strength` below 1 the weights lie as far on the way from the base's (0) to the snapshot's.

    `StableDiffusionPipeline.from_pretrained(folder)` loads it. Raises ModelError when the base cannot
    be loaded or the snapshot was trained from another, FolderError when the folder holds something.
    """
    loaded = load_base(base_model, revision, "cpu", torch.float32)
    put_strength(loaded, snapshot, strength, store)
    replace_folder(folder, loaded.pipe.to(torch.float16).save_pretrained)
