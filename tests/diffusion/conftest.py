"""The tiny base model, one with the same shapes and other weights, and a store for each test."""

import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.sample.conftest import base, store

__all__ = ["base", "other_base", "store"]


@pytest.fixture(scope="session")
def other_base(base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("other") / "base"
    shutil.copytree(base, folder)
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    torch.nn.init.zeros_(unet.conv_out.weight)
    unet.save_pretrained(folder / "unet")
    return str(folder)
