"""A store for each test, and the shipped CLIP."""

import pytest
import torch

from tasks.measure.clip import Clip, load_clip
from tests.measure.pictures import CLIP
from tests.sample.conftest import base, store

__all__ = ["base", "store"]

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def clip() -> Clip:
    return load_clip(str(CLIP), None, "cpu")
