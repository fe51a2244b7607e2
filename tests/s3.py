"""A real S3 server on this machine (moto), with a bucket of its own for each test."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest


@contextmanager
def served() -> Iterator[str]:
    """The address of a server, which boto's own settings in the environment name while it runs."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    try:
        with patch.dict(os.environ, settings):
            yield settings["AWS_ENDPOINT_URL"]
    finally:
        server.stop()


def bucket() -> str:
    """`s3://…` of a new bucket."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # one made for an earlier server asks that
    name = f"wikistyle-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The address of a server for the tests of a module."""
    with served() as address:
        yield address


@pytest.fixture(params=["folder", "s3"])
def shared_store(request, tmp_path, monkeypatch) -> str:
    """`WIKISTYLE_STORE` in a folder and on S3, empty; child processes see it, too."""
    root = str(tmp_path / "store")
    if request.param == "s3":
        request.getfixturevalue("s3_server")
        root = bucket()
    monkeypatch.setenv("WIKISTYLE_STORE", root)
    return root
