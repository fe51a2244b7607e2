"""Thin snapshots: fp16 safetensors of what was trained, written to the store."""

import os
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from tasks.records import StoredFile
from tasks.store import Store

UNET_FILE = "unet/diffusion_pytorch_model.safetensors"
DECODER_FILE = "vae/decoder.safetensors"


def save_weights(path: str, named: dict[str, torch.Tensor], store: Store) -> StoredFile:
    """Store the tensors as fp16 safetensors; `path` says where the file belongs in a pipeline's folder."""
    half = {name: p.detach().to("cpu", torch.float16).contiguous() for name, p in named.items()}
    with tempfile.TemporaryDirectory(prefix="wikistyle-") as folder:
        file = Path(folder) / "weights.safetensors"
        save_file(half, file, metadata={"format": "pt"})
        return StoredFile(path=path, key=store.put_file(file), bytes=os.path.getsize(file))
