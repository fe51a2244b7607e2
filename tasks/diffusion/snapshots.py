"""Thin snapshots: fp16 safetensors of what was trained, written to the store."""

import os
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tasks.common.errors import ModelError
from tasks.common.records import StoredFile
from tasks.common.store import Store

UNET_FILE = "unet/diffusion_pytorch_model.safetensors"
DECODER_FILE = "vae/decoder.safetensors"
BASE = "wikistyle_base"


def save_weights(path: str, named: dict[str, torch.Tensor], base_identity: str, store: Store) -> StoredFile:
    """Store the tensors as fp16 safetensors; `path` says where the file belongs in a pipeline's folder.

    The file names the base model it was trained from, so that it is never put into another.
    """
    half = {name: p.detach().to("cpu", torch.float16).contiguous() for name, p in named.items()}
    with tempfile.TemporaryDirectory(prefix="wikistyle-") as folder:
        file = Path(folder) / "weights.safetensors"
        # One entry only: safetensors writes several in an order of chance, and the same weights must be the same bytes.
        save_file(half, file, metadata={BASE: base_identity})
        return StoredFile(path=path, key=store.put_file(file), bytes=os.path.getsize(file))


def load_weights(file: StoredFile, base_identity: str, store: Store) -> dict[str, torch.Tensor]:
    """A snapshot's tensors. Raises ModelError when they were trained from another base model than this one."""
    path = store.path(file.key)
    with safe_open(path, "pt") as opened:
        made_from = (opened.metadata() or {}).get(BASE, base_identity)
    if made_from != base_identity:
        raise ModelError(
            f"snapshot {file.key[:12]} was trained from base model {made_from[:60]}, not from {base_identity[:60]}; "
            "use the base model and revision it was trained from"
        )
    return load_file(path)


def in_decoder(name: str) -> bool:
    """Whether a VAE's tensor is of the part that the decoder's stage trains: `decoder.*` and `post_quant_conv.*`."""
    return name.startswith(("decoder.", "post_quant_conv."))


def decoder_parameters(vae: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters of that part."""
    return {name: parameter for name, parameter in vae.named_parameters() if in_decoder(name)}
