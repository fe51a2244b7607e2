"""A store for each test, and pictures to film."""

from pathlib import Path

import pytest

from tasks.common.store import Store
from tests.animate.pages import Draw, drawn_into


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path / "store"))
    return Store()


@pytest.fixture
def draw(store: Store) -> Draw:
    return drawn_into(store)
