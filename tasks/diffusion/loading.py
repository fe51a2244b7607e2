"""Loading the base model: a part of it, a part's configuration, or all of it."""

from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tasks.common.errors import ModelError, first_line

diffusers_logging.disable_progress_bar()  # it knows no environment variable for it


def load_part(kind: str, base_model: str, revision: str | None) -> object:
    """The `unet`, `vae`, `text_encoder`, `tokenizer` or `scheduler` of a pipeline, weights in fp32, from safetensors.

    Raises ModelError, in one line, when it cannot be loaded.
    """
    loaders = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "tokenizer": CLIPTokenizer,
        "scheduler": DDPMScheduler,
    }
    weights = {"use_safetensors": True} if kind in ("unet", "vae", "text_encoder") else {}
    try:
        part = loaders[kind].from_pretrained(base_model, subfolder=kind, revision=revision, **weights)
    except Exception as error:
        raise _unloadable(base_model, f"its {kind}", error) from error
    return part.float() if isinstance(part, torch.nn.Module) else part


def load_config(kind: str, base_model: str, revision: str | None) -> dict[str, Any]:
    """The configuration of the `unet`, `vae` or `text_encoder`, without weights. Raises ModelError as `load_part`."""
    try:
        if kind == "text_encoder":
            return CLIPTextConfig.from_pretrained(base_model, subfolder=kind, revision=revision or "main").to_dict()
        loader: Any = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[kind]
        return loader.load_config(base_model, subfolder=kind, revision=revision)
    except Exception as error:
        raise _unloadable(base_model, f"its {kind}", error) from error


def load_whole(base_model: str, revision: str | None, dtype: torch.dtype) -> StableDiffusionPipeline:
    """All parts, from safetensors, in `dtype` but for the VAE, which stays in fp32: fp16 can overflow there.

    The safety checker is off: it blanks drawings, and the model card says so. Raises ModelError as `load_part`.
    """
    try:
        return StableDiffusionPipeline.from_pretrained(
            base_model,
            revision=revision,
            safety_checker=None,
            requires_safety_checker=False,
            use_safetensors=True,
            dtype={"default": dtype, "vae": torch.float32},
        )
    except Exception as error:  # offline, no such model, no such revision, damaged files: one remedy for all
        raise _unloadable(base_model, "the pipeline", error) from error


def _unloadable(base_model: str, what: str, error: Exception) -> ModelError:
    return ModelError(
        f"base model {base_model} can't be loaded: {what} ({first_line(error)}); "
        "check the id and revision, connect to the hub, or give the folder of a Stable Diffusion v1 pipeline"
    )
