"""The tiny base model, a dataset of fourteen pictures, and a store for each test."""

from pathlib import Path

import pytest
import torch

from tasks.common.store import Store
from tests.finetune.tiny import png, write_dataset
from tests.sample.tiny import save_base

torch.set_num_threads(1)  # the pictures are so small that threads cost more than they bring


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    save_base(folder)
    return str(folder)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_dataset(tmp_path_factory.mktemp("dataset"), [png(i) for i in range(14)])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path / "store"))
    return Store()
