"""The store keeps what it is given, and says so when it can't."""

import hashlib

import pytest

from tasks.store import Store, StoreError


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path) -> Store:
    return Store(str(tmp_path) if request.param == "folder" else f"memory://{tmp_path}")


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
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
