"""`wikistyle gc` frees what no kept run refers to, and nothing else."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flows.common import handoff
from flows.common.gc import gc
from flows.common.report import Collected, Showcased
from flows.common.run_folder import write_run
from flows.common.settings import load_profile
from tasks.common.files import PARTIAL
from tasks.common.garbage.lease import others, release
from tasks.common.garbage.references import Reference, keep_list
from tasks.common.records import DatasetRef, Sample
from tasks.common.store import Store, StoreError
from tests import s3

SETTINGS = load_profile("sample")


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path, monkeypatch) -> Store:
    """A store with everything else of a home of its own, and an empty current folder."""
    if request.param == "s3":
        request.getfixturevalue("s3_server")
        root = f"{s3.bucket()}/prefix"
    else:
        root = str(tmp_path / "store")
    monkeypatch.setenv("WIKISTYLE_STORE", root)
    monkeypatch.setenv("WIKISTYLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WIKISTYLE_TRAINING", str(tmp_path / "home" / "training"))
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(tmp_path / "home" / "results"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Store()


def on_s3(test):
    return pytest.mark.parametrize("store", ["s3"], indirect=True)(test)


def in_a_folder(test):
    return pytest.mark.parametrize("store", ["folder"], indirect=True)(test)


def make_run(name: str, store: Store, prompt: str) -> str:
    """A run with one picture; returns the picture's key."""
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    key = store.put(data.getvalue() + prompt.encode())
    showcased = Showcased(
        samples=(Sample(prompt=prompt, seed=0, epoch=2, key=key),), denoising=(), animations=(), stages=()
    )  # fmt: skip
    write_run(Path("runs") / name, SETTINGS, None, None, showcased, store)
    return key


def collected(store: Store, *materials: str) -> Collected:
    return Collected(
        dataset=DatasetRef(fingerprint="f", rows=0, files=()), wiki="w", site_name="w", listed=0, duplicates=0,
        rejects=(), stages=(), materials=keep_list(materials, store),
    )  # fmt: skip


def console(*arguments: str) -> str:
    release()  # this process uses the store no more
    script = Path(sys.executable).with_name("wikistyle")
    done = subprocess.run([script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_deleted_runs_objects_go_and_a_kept_runs_stay(store, tmp_path):
    old, kept, shared = make_run("old", store, "a cat"), make_run("kept", store, "a dog"), store.put(b"in parts")
    handoff.keep("sample", "collect", collected(store, shared))
    elsewhere = make_run(str(tmp_path / "elsewhere" / "run"), store, "a pig")
    shutil.rmtree("runs/old")
    os.mkdir("other")

    for folder in (Path(), Path("other")):  # whichever the current folder
        os.chdir(folder)
        said = console("gc", "--min-age", "0", "--dry-run")
        assert re.search(r"would go: 1 objects \(\d+ bytes\)", said)
        assert store.has(old)
    said = console("gc", "--min-age", "0")
    assert re.search(r"gone: 1 objects \(\d+ bytes\)", said)
    assert [store.has(key) for key in (old, kept, shared, elsewhere)] == [False, True, True, True]
    assert "gone: 0 objects (0 bytes)" in console("gc", "--min-age", "0")
    assert store.read(kept)


def test_what_was_written_lately_stays(store):
    key = store.put(b"a picture of a run that goes on")
    assert "gone: 0 objects" in gc(24, dry_run=False)
    assert store.has(key)


USER = """
import sys
from tasks.common.store import Store, StoreError
print(Store().has("0" * 64), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_objects_stay_while_another_process_uses_the_store(store):
    key = store.put(b"what a deleted run referred to")
    with subprocess.Popen([sys.executable, "-c", USER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout
        user.stdout.readline()
        said = console("gc", "--min-age", "0")
        assert f"in use by process {user.pid} on" in said
        assert "stay: 1 objects" in said
        assert store.has(key)
        user.communicate()
    assert "gone: 1 objects" in console("gc", "--min-age", "0")
    assert not store.has(key)


@in_a_folder
def test_a_killed_user_is_forgotten_after_a_while(store):
    key = store.put(b"what a deleted run referred to")
    with subprocess.Popen([sys.executable, "-c", USER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout
        user.stdout.readline()
        user.send_signal(signal.SIGKILL)
    assert "in use by" in gc(0, dry_run=False)
    assert len(others(store.root)) == 1
    (left,) = Path(str(store.root), "leases").glob(f"*-{user.pid}-*")
    os.utime(left, (0, time.time() - 700))
    assert "gone: 1 objects" in gc(0, dry_run=False)
    assert not store.has(key)
    assert not left.exists()


COLLECTING = """
import sys
from tasks.common.garbage.lease import collecting
from tasks.common.store import Store, StoreError
with collecting(Store().root):
    print("collecting", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_starts_meanwhile_waits(store):
    release()
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", COLLECTING], **pipes) as collector:
        assert collector.stdout
        collector.stdout.readline()
        with subprocess.Popen([sys.executable, "-c", USER], **pipes) as user:
            assert user.stderr
            assert user.stdout
            assert user.stderr.readline().startswith(b"waiting while garbage is collected")
            os.set_blocking(user.stdout.fileno(), False)
            assert user.stdout.read() is None, "it has not looked into the store yet"
            os.set_blocking(user.stdout.fileno(), True)
            collector.communicate()
            assert user.stdout.readline() == b"False\n"
            user.communicate()


def put(store: Store, path: str, data: bytes = b"mine") -> None:
    store.write(store.root / path, data)


def test_only_files_with_names_of_ours_go(store):
    key = "ab" + "0" * 62
    mine = [
        f"objects/cd/{key}",  # not where an object lies
        f"objects/ab/{key}.txt", "objects/ab/notes.txt", "objects/ab/.hidden", "objects/README", "memory/segment.jsonl",
        f"memory/ab/{key}", "fetched/ab/notes", "references/notes.txt", "notes.txt", key,
    ]  # fmt: skip
    for path in mine:
        put(store, path)
    ours = [f"objects/ab/.{key}.x7_k2a9z", f"objects/ab/.{key}.0a1b{PARTIAL}", f"fetched/ab/.entry.0a1b{PARTIAL}"]
    for path in [*ours, f"objects/ab/{key}"]:
        put(store, path)
    said = gc(0, dry_run=False)
    assert "gone: 1 objects (4 bytes)" in said
    assert "gone: 3 temporary files (12 bytes)" in said
    store.root.fs.invalidate_cache()
    assert all((store.root / path).exists() for path in mine)
    assert not any((store.root / path).exists() for path in ours)


@in_a_folder
def test_nothing_behind_a_link_goes(store, tmp_path):
    key = "ab" + "0" * 62
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / key).write_text("mine")
    objects = Path(str(store.root), "objects")
    objects.mkdir(parents=True)
    (objects / "ab").symlink_to(tmp_path / "mine")
    gc(0, dry_run=False)
    assert (tmp_path / "mine" / key).read_text() == "mine"


KILLED = """
import os, signal
import tasks.common.files
from tasks.common.store import Store, StoreError
Store().has("0" * 64)
tasks.common.files._sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
Store().put(b"half")
"""


@in_a_folder
def test_what_a_killed_writer_left_goes_when_it_is_old(store):
    done = subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = (p for p in Path(str(store.root), "objects").rglob(".*") if p.is_file())
    assert "gone: 0 temporary files" in gc(24, dry_run=False)
    assert left.exists()
    os.utime(left, (0, time.time() - 25 * 3600))
    assert "gone: 1 temporary files (4 bytes)" in gc(24, dry_run=False), "even while the killed one's lease lasts"
    assert not left.exists()


@on_s3
def test_uploads_that_never_ended_are_forgotten(store):
    s3: Any = store.root.fs
    bucket, _, prefix = store.root.path.partition("/")
    names = [f"{prefix}/objects/ab/ab{'0' * 62}", f"{prefix}/mine", f"another/objects/ab/ab{'0' * 62}"]
    for name in names:
        s3.call_s3("create_multipart_upload", Bucket=bucket, Key=name)
    assert "gone: 1 uploads that never ended" in gc(24, dry_run=False)
    left = s3.call_s3("list_multipart_uploads", Bucket=bucket)["Uploads"]
    assert {upload["Key"] for upload in left} == set(names[1:])


@in_a_folder
def test_an_unfinished_training_and_fresh_results_keep_what_they_name(store, tmp_path):
    from safetensors.numpy import save_file

    old, lately = time.time() - 25 * 3600, time.time()
    keys = {name: store.put(name.encode()) for name in ("finished", "resumed", "fresh", "stale")}
    home = tmp_path / "home"
    for name in ("finished", "resumed"):
        folder = home / "training" / f"unet-{name}"
        folder.mkdir(parents=True)
        save_file({}, folder / "step-000000009-0.safetensors", {"progress": json.dumps({"unet": keys[name]})})
    (home / "training" / "job-0.json").write_text("{}")
    (home / "results").mkdir()
    for name in ("fresh", "stale"):
        (home / "results" / name).write_text(json.dumps({"result": json.dumps([{"key": keys[name]}])}))
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        when = lately if path.parent.name == "unet-resumed" or path.name == "fresh" else old
        os.utime(path, (0, when))
    gc(24, dry_run=False)
    assert {name for name, key in keys.items() if store.has(key)} == {"finished", "resumed", "fresh"}
    (home / "training" / "training-0.json").write_text("{}")
    os.utime(home / "training" / "training-0.json", (0, old))
    gc(24, dry_run=False)
    assert {name for name, key in keys.items() if store.has(key)} == {"resumed", "fresh"}


def test_what_another_machine_keeps_stays(store):
    key = store.put(b"a picture of another machine's run")
    reference = Reference(host="elsewhere", path="/no/such/folder", keys=(key,))
    put(store, "references/other.json", reference.model_dump_json().encode())
    assert "records of machine elsewhere refer to" in gc(0, dry_run=False)
    assert store.has(key)


def test_a_record_that_cannot_be_read_stops_it(store):
    key = store.put(b"something")
    put(store, "references/damaged.json", b"{")
    with pytest.raises(StoreError, match=r"damaged\.json can't be read"):
        gc(0, dry_run=False)
    assert store.has(key)
