"""The store keeps what it is given, and says so when it can't."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.common.store import Store, StoreError
from tests import s3


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("WIKISTYLE_HOME", str(tmp_path / "home"))
    if request.param == "folder":
        return Store(str(tmp_path / "store"))
    request.getfixturevalue("s3_server")
    return Store(f"{s3.bucket()}/prefix")


def objects(store: Store) -> list[str]:
    store.root.fs.invalidate_cache()
    return list(store.root.fs.find((store.root / "objects").path))


def test_bytes_come_back_under_their_sha256(store, tmp_path):
    key = store.put(b"a drawing")
    assert key == hashlib.sha256(b"a drawing").hexdigest()
    assert store.read(key) == b"a drawing"
    assert store.path(key).read_bytes() == b"a drawing"
    file = tmp_path / "file"
    file.write_bytes(b"a drawing")
    assert store.put_file(file) == key


def test_a_damaged_object_is_named_with_a_remedy(store):
    key = store.put(b"a drawing")
    store._at(key).write_bytes(b"something else")
    with pytest.raises(StoreError, match=f"{key}.*damaged; delete"):
        store.read(key)


def test_a_missing_object_is_named(store):
    with pytest.raises(StoreError, match=r"ab12(ab12)* is not in the store"):
        store.read("ab12" * 16)


@pytest.mark.parametrize("key", ["", "ab12", "../../../etc/passwd", "/etc/passwd", "AB" * 32, "ab" * 32 + "\n"])
def test_what_is_no_key_never_becomes_a_path(store, key):
    for use in (store.has, store.read, store.path):
        with pytest.raises(StoreError, match="is no key of the store"):
            use(key)


def test_a_store_that_cannot_be_written_says_so_in_one_line(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(StoreError, match=r"can't be written.*set WIKISTYLE_STORE") as error:
        Store(str(blocker / "store")).check_writable()
    assert "\n" not in str(error.value)


def test_a_killed_write_leaves_no_object(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        store.put(b"a drawing")
    assert objects(store) == []


def test_each_check_writes_something_new_and_leaves_nothing(store, monkeypatch):
    store.check_writable()
    store.check_writable()
    assert objects(store) == []
    monkeypatch.setattr(type(store), "put", lambda self, data: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(StoreError, match="no space left"):
        store.check_writable()


FULL = """
import resource
from tasks.common.store import Store
Store().check_writable()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # as a full disk: files can be made, nothing can be written to them
Store().check_writable()
"""


def test_a_used_store_that_became_full_says_so(tmp_path):
    env = os.environ | {"WIKISTYLE_STORE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FULL], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "can't be written (OSError" in done.stderr.splitlines()[-1]
    assert objects(Store(str(tmp_path))) == []


def copies(home: Path) -> set[str]:
    return {path.name for path in (home / "cache").rglob("*") if path.is_file()}


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_local_copies_are_bounded_and_the_last_used_ones_stay(store, tmp_path, monkeypatch):
    monkeypatch.setenv("WIKISTYLE_CACHE_GIB", str(2.5e6 / 2**30))
    keys = [store.put(bytes([n]) * 10**6) for n in range(4)]
    paths = [store.path(key) for key in keys[:3]]
    assert copies(tmp_path / "home") == set(keys[:3]), "what was asked for just now may not be open yet"
    for age, path in zip((300, 400, 200), paths, strict=True):
        os.utime(path, (0, time.time() - age))
    store.path(keys[0])  # used again
    assert copies(tmp_path / "home") == {keys[0], keys[2]}
    store.path(keys[3])
    assert copies(tmp_path / "home") == {keys[0], keys[3]}
    assert store.path(keys[1]).read_bytes() == bytes([1]) * 10**6


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_damaged_copy_is_fetched_again(store):
    key = store.put(b"a drawing")
    store.path(key).write_bytes(b"something else")
    assert store.path(key).read_bytes() == b"a drawing"


def test_a_damaged_object_makes_no_copy(tmp_path, monkeypatch, store):
    key = store.put(b"a drawing")
    store._at(key).write_bytes(b"something else")
    with pytest.raises(StoreError, match="damaged; delete"):
        store.path(key)
    assert copies(tmp_path / "home") == set()
