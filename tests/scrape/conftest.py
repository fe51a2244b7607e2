"""Settings that do not wait long, and stores of their own."""

import pytest

from tasks.common.store import Store
from tasks.scrape.settings import ScrapeSettings


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def quick():
    """ScrapeSettings for an address, with back-off in milliseconds."""

    def settings(api_url: str, **changed) -> ScrapeSettings:
        return ScrapeSettings.model_validate(
            {"api_url": api_url, "backoff": 0.01, "attempts": 4, "timeout": 20} | changed
        )

    return settings
