"""A store for each test, and pictures to film."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tasks.common.records import Sample
from tasks.common.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path / "store"))
    return Store()


@pytest.fixture
def draw(store: Store) -> Callable[..., Sample]:
    """Put a plain picture into the store; its colour tells which epoch and seed it is."""

    def one(prompt: str, seed: int, epoch: int, size: int = 32) -> Sample:
        data = io.BytesIO()
        Image.new("RGB", (size, size), (20 * epoch, 60 * seed, 90)).save(data, "PNG")
        return Sample(prompt=prompt, seed=seed, epoch=epoch, key=store.put(data.getvalue()))

    return one
