"""Loading the base model's parts."""

# diffusers names its classes lazily.
# pyright: reportPrivateImportUsage=false

from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tasks.common.errors import ModelError, first_line


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
        raise _unloadable(base_model, kind, error) from error
    return part.float() if isinstance(part, torch.nn.Module) else part


def load_config(kind: str, base_model: str, revision: str | None) -> dict[str, Any]:
    """The configuration of the `unet`, `vae` or `text_encoder`, without weights. Raises ModelError as `load_part`."""
    try:
        if kind == "text_encoder":
            return CLIPTextConfig.from_pretrained(base_model, subfolder=kind, revision=revision or "main").to_dict()
        loader: Any = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[kind]
        return loader.load_config(base_model, subfolder=kind, revision=revision)
    except Exception as error:
        raise _unloadable(base_model, kind, error) from error


def _unloadable(base_model: str, kind: str, error: Exception) -> ModelError:
    return ModelError(
        f"base model {base_model} can't be loaded: its {kind} ({first_line(error)}); "
        "check the id and revision, connect to the hub, or give a local folder"
    )
