"""An S3 server on loopback for tests of what several machines share."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

BUCKET = "wikistyle"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a moto server in a process of its own, with an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while server.poll() is None:
            try:
                made = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
                urllib.request.urlopen(made, timeout=10).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        assert server.poll() is None, "moto's server ended while it started"
        yield address
    finally:
        server.kill()
        server.wait()


@pytest.fixture(params=["folder", "s3"])
def shared_store(request, tmp_path, monkeypatch) -> str:
    """`WIKISTYLE_STORE` in a folder and on S3, empty; child processes see it, too."""
    root = str(tmp_path / "store")
    if request.param == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3_server"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        root = f"s3://{BUCKET}/{tmp_path.name}-{id(tmp_path)}"
    monkeypatch.setenv("WIKISTYLE_STORE", root)
    return root
