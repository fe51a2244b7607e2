"""The base model as a StableDiffusionPipeline, and putting a snapshot's weights into it."""

# diffusers names its classes lazily.
# pyright: reportPrivateImportUsage=false
from dataclasses import dataclass

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file

from tasks.common.allocator import keep_freed_memory
from tasks.common.errors import ModelError
from tasks.common.records import Snapshot, StoredFile
from tasks.common.store import Store

diffusers_logging.disable_progress_bar()  # it knows no environment variable for it


@dataclass
class LoadedPipeline:
    """A loaded base model, and the keys of the weights that are in it now (None: the base model's own)."""

    pipe: StableDiffusionPipeline
    base_model: str
    base_revision: str | None
    unet: str | None = None
    decoder: str | None = None


def best_device() -> tuple[str, torch.dtype]:
    """The GPU in fp16, which is what the snapshots are kept in, or the processor in fp32."""
    return ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.float32)


def load_base(base_model: str, revision: str | None, device: str, dtype: torch.dtype) -> LoadedPipeline:
    """Load a folder or hub id. The safety checker is off: it blanks drawings, and the model card says so.

    The VAE stays in fp32: fp16 can overflow there, which gives black pictures. Raises ModelError.
    """
    keep_freed_memory()
    try:
        pipe = StableDiffusionPipeline.from_pretrained(
            base_model,
            revision=revision,
            safety_checker=None,
            use_safetensors=True,
            dtype={"default": dtype, "vae": torch.float32},
        )
    except Exception as error:  # offline, no such model, no such revision, damaged files: one remedy for all
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"base model {base_model} can't be loaded ({type(error).__name__}: {reason}); "
            "name a folder that holds a Stable Diffusion v1 pipeline, or a hub id that can be reached from here"
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return LoadedPipeline(pipe.to(device), base_model, revision)


def put_in(loaded: LoadedPipeline, snapshot: Snapshot, store: Store) -> None:
    """Swap the weights for a snapshot's; only what differs from the weights in place is read. Raises ModelError."""
    unet, decoder = _key(snapshot.unet), _key(snapshot.decoder)
    if unet != loaded.unet:
        weights = load_file(store.path(unet)) if unet else _own(loaded, UNet2DConditionModel, "unet")
        _fill(loaded.pipe.unet, weights, f"the UNet of epoch {snapshot.epoch}")
        loaded.unet = unet
    if decoder != loaded.decoder:
        weights = load_file(store.path(decoder)) if decoder else _own(loaded, AutoencoderKL, "vae")
        _fill(loaded.pipe.vae, weights | _encoder(loaded.pipe.vae), f"the decoder of epoch {snapshot.epoch}")
        loaded.decoder = decoder


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


def _key(file: StoredFile | None) -> str | None:
    return file.key if file else None


def _own(loaded: LoadedPipeline, kind: type, part: str) -> dict[str, torch.Tensor]:
    own = kind.from_pretrained(
        loaded.base_model, subfolder=part, revision=loaded.base_revision, use_safetensors=True
    ).state_dict()
    return own if part == "unet" else {name: value for name, value in own.items() if _is_decoder(name)}


def _is_decoder(name: str) -> bool:
    return name.startswith(("decoder.", "post_quant_conv."))


def _encoder(vae: AutoencoderKL) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vae.state_dict().items() if not _is_decoder(name)}


def _fill(model: torch.nn.Module, weights: dict[str, torch.Tensor], what: str) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{what} does not fit the base model ({reason}); draw with the base model it was trained from"
        ) from error
