"""One `wikistyle up` for all tests of this folder."""

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.stack import Stack, Wiki, running_stack, small_wiki_served


@pytest.fixture(scope="session")
def wiki() -> Iterator[Wiki]:
    with small_wiki_served() as served:
        yield served


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, wiki: Wiki) -> Iterator[Stack]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running_stack(tmp_path_factory.mktemp("stack"), wiki.url, port) as running:
        yield running
