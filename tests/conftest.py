"""What all tests share: no network for models, and one Prefect server for those that need one."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.s3 import s3_server, shared_store  # noqa: F401

# A shell has what it starts in the background ignore Ctrl-C, and so would all that the tests start and stop so.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["HF_HUB_OFFLINE"] = "1"
# The tests' models are so small that a second thread costs more than it brings: 37 s in one test instead of 0.5.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ.pop("PREFECT_API_URL", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the Prefect server (`make test-fast` leaves it out); files of long tests are handed out first."""
    for item in items:
        if "prefect_server" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real server on SQLite for the whole session (10 s to start on a machine that is not shared)."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=1200):
        yield


@pytest.fixture
def prefect(prefect_server: None, tmp_path, monkeypatch) -> Iterator[None]:
    """The server, with results, store and trainings of this test's own: nothing is cached from another test."""
    from prefect.settings import (
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_RESULTS_DEFAULT_SERIALIZER,
        PREFECT_RESULTS_PERSIST_BY_DEFAULT,
        temporary_settings,
    )

    monkeypatch.setenv("WIKISTYLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WIKISTYLE_TRAINING", str(tmp_path / "training"))
    own: Any = {
        PREFECT_LOCAL_STORAGE_PATH: tmp_path / "results",
        PREFECT_RESULTS_PERSIST_BY_DEFAULT: True,
        PREFECT_RESULTS_DEFAULT_SERIALIZER: "json",
    }
    with temporary_settings(own):
        yield
