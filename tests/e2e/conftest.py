"""One `wikistyle up` for the tests of this folder, with a wiki to read and a hub to publish to."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.stack import Stack, Wiki, running_stack, small_wiki_served
from tests.hub.server import Hub, running_hub

# cats.example is a name whose owner had it point to this machine.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP cats.example 127.0.0.1"]


@pytest.fixture(scope="session")
def wiki() -> Iterator[Wiki]:
    with small_wiki_served() as served:
        yield served


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, wiki: Wiki, hub: Hub) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    reached = {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_writer", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder / "hf"),
    }  # fmt: skip
    with running_stack(folder, wiki.url, **reached) as running:
        yield running


@pytest.fixture(scope="module")  # while it is open, no test that is a coroutine can run
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium must be installed to prove what the UI shows")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield opened
        opened.close()
