"""A builder of datasets with a store of its own."""

import pytest

from tasks.common.store import Store
from tests.dataset.rows import Builder


@pytest.fixture
def builder(tmp_path) -> Builder:
    return Builder(Store(str(tmp_path / "store")))
