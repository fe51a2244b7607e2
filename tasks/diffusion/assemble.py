"""The finished model as a plain Stable Diffusion pipeline folder, which needs no wikistyle to load."""

from pathlib import Path

import torch

from tasks.common.files import replace_folder
from tasks.common.records import Snapshot
from tasks.common.store import Store
from tasks.diffusion.pipeline import load_base, put_in


def assemble(base_model: str, revision: str | None, snapshot: Snapshot, folder: Path, store: Store) -> None:
    """Write base model + snapshot as fp16 safetensors to `folder`, new or empty: whole, or not at all.

    `StableDiffusionPipeline.from_pretrained(folder)` loads it. Raises ModelError when the base cannot
    be loaded or the snapshot was trained from another, FolderError when the folder holds something.
    """
    loaded = load_base(base_model, revision, "cpu", torch.float32)
    put_in(loaded, snapshot, store)
    replace_folder(folder, loaded.pipe.to(torch.float16).save_pretrained)
