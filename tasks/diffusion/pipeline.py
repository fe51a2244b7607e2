"""The base model as a StableDiffusionPipeline, and putting a snapshot's weights into it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline

from tasks.common.allocator import keep_freed_memory
from tasks.common.errors import ModelError
from tasks.common.model_id import model_identity
from tasks.common.records import Snapshot, StoredFile
from tasks.common.store import Store
from tasks.diffusion.loading import load_part, load_whole
from tasks.diffusion.snapshots import in_decoder, load_weights


@dataclass
class LoadedPipeline:
    """A loaded base model, and the keys of the weights that are in it now (None: the base model's own)."""

    pipe: StableDiffusionPipeline
    base_model: str
    base_revision: str | None
    base_identity: str
    unet: str | None = None
    decoder: str | None = None


def best_device() -> tuple[str, torch.dtype]:
    """The GPU in fp16, which is what the snapshots are kept in, or the processor in fp32."""
    return ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.float32)


def load_base(base_model: str, revision: str | None, device: str, dtype: torch.dtype) -> LoadedPipeline:
    """Load a folder or hub id; the VAE in fp32 whatever `dtype` is. Raises ModelError."""
    keep_freed_memory()
    pipe = load_whole(base_model, revision, dtype)
    pipe.set_progress_bar_config(disable=True)
    return LoadedPipeline(pipe.to(device), base_model, revision, model_identity(base_model, revision))


@lru_cache(maxsize=1)
def shared_pipeline(base_identity: str, base_model: str, revision: str | None) -> LoadedPipeline:
    """The base on the best device, loaded once for all stages of a process: what weights are in it, it says itself."""
    return load_base(base_model, revision, *best_device())


def put_in(loaded: LoadedPipeline, snapshot: Snapshot, store: Store) -> None:
    """Swap the weights for a snapshot's; only what differs from the weights in place is read.

    Raises ModelError when they were trained from another base model, or don't fit this one.
    """
    if file_key(snapshot.unet) != loaded.unet:
        weights = part_weights(loaded, snapshot.unet, "unet", store)
        fill(loaded, loaded.pipe.unet, weights, f"the UNet of epoch {snapshot.epoch}")
        loaded.unet = file_key(snapshot.unet)
    if file_key(snapshot.decoder) != loaded.decoder:
        weights = part_weights(loaded, snapshot.decoder, "vae", store)
        vae = loaded.pipe.vae
        encoder = {name: value for name, value in vae.state_dict().items() if not in_decoder(name)}
        fill(loaded, vae, weights | encoder, f"the decoder of epoch {snapshot.epoch}")
        loaded.decoder = file_key(snapshot.decoder)


def set_solver(pipe: StableDiffusionPipeline, name: str) -> None:
    """Put in a deterministic solver on the base model's own noise schedule and prediction type.

    `clip_sample` is off whatever the base says: latents are not bound to [-1, 1].
    """
    if name == "dpm++2m":
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, algorithm_type="dpmsolver++", solver_order=2
        )
    else:
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)


def file_key(file: StoredFile | None) -> str | None:
    """What `LoadedPipeline` calls a part's weights."""
    return file.key if file else None


def part_weights(loaded: LoadedPipeline, file: StoredFile | None, part: str, store: Store) -> dict[str, torch.Tensor]:
    """A snapshot's tensors, or those of the base model's own `part`."""
    if file:
        return load_weights(file, loaded.base_identity, store)
    own: Any = load_part(part, loaded.base_model, loaded.base_revision)
    return own.state_dict()


def fill(loaded: LoadedPipeline, model: torch.nn.Module, weights: dict[str, torch.Tensor], what: str) -> None:
    """Copy weights into a model. Raises ModelError naming `what` they are when they don't fit."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{what} does not fit base model {loaded.base_model} ({reason}); use the base model it was trained from"
        ) from error
