"""A run's folder replaces nothing but a run's, and every picture has a name of its own."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from flows.common.report import Showcased
from flows.common.run_folder import check_run_folder, new_folder, write_run
from flows.common.settings import load_profile
from tasks.common.files import FolderError
from tasks.common.records import Sample
from tasks.common.store import Store

SETTINGS = load_profile("sample")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "store"))


def write(folder: Path, store: Store, *prompts: str) -> dict:
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    samples = []
    for i, prompt in enumerate(prompts):
        samples.append(Sample(prompt=prompt, seed=0, epoch=2, key=store.put(data.getvalue() + bytes([i]))))
    showcased = Showcased(samples=tuple(samples), denoising=(), animations=(), stages=())
    return write_run(folder, SETTINGS, None, None, showcased, store)


def console(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("wikistyle")
    env = os.environ | {
        "WIKISTYLE_HOME": str(cwd.parent / "home"),
        "WIKISTYLE_STORE": str(cwd.parent / "home" / "store"),
    }
    return subprocess.run([script, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_a_folder_with_a_file_of_the_users_is_refused_and_left_alone(store, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(FolderError, match=r"holds thesis\.tex, which wikistyle did not write; name a new"):
        write(folder, store, "a cat")
    assert [(p.name, p.read_text()) for p in folder.iterdir()] == [("thesis.tex", "years of work")]


def test_the_command_refuses_before_any_stage_starts(tmp_path):
    here = tmp_path / "here"
    (here / "notes").mkdir(parents=True)
    (here / "notes" / "thesis.tex").write_text("years of work")
    done = console("run", "--run-dir", "notes", cwd=here)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("wikistyle: ")] == [
        "wikistyle: notes holds thesis.tex, which wikistyle did not write; name a new or empty folder"
    ]
    assert (here / "notes" / "thesis.tex").read_text() == "years of work"
    assert not (tmp_path / "home" / "prefect" / "prefect.db").exists(), "no server was started for it"


def test_a_runs_own_folder_is_replaced_whole(store, tmp_path):
    write(tmp_path / "run", store, "a cat", "a dog")
    write(tmp_path / "run", store, "a pig")
    assert [p.name for p in (tmp_path / "run").rglob("*.png")] == ["a-pig-seed-0.png"]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_an_empty_folder_is_filled(store, tmp_path):
    (tmp_path / "run").mkdir()
    write(tmp_path / "run", store, "a cat")
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("how", ["added", "changed", "linked", "unreadable"])
def test_what_the_user_did_to_a_runs_folder_is_kept(store, tmp_path, how):
    folder = tmp_path / "run"
    write(folder, store, "a cat")
    picture = next(folder.rglob("*.png"))
    if how == "added":
        (folder / "samples" / "mine.txt").write_text("mine")
    elif how == "changed":  # by as many bytes
        picture.write_bytes(picture.read_bytes()[:-1] + b"!")
        os.utime(picture, ns=(0, (folder / "summary.json").stat().st_mtime_ns + 10**9))
    elif how == "linked":
        (folder / "elsewhere").symlink_to(tmp_path)
    else:
        (folder / "summary.json").write_text("{}")
    before = sorted(folder.rglob("*"))
    with pytest.raises(FolderError, match="which wikistyle did not write"):
        write(folder, store, "a pig")
    assert sorted(folder.rglob("*")) == before


def test_a_copied_folder_of_a_run_is_still_a_runs(store, tmp_path):
    write(tmp_path / "run", store, "a cat")
    subprocess.run(["cp", "-r", tmp_path / "run", tmp_path / "copy"], check=True)
    write(tmp_path / "copy", store, "a pig")


@pytest.mark.parametrize("place", [".", "..", "/", "/proc", "file", "file/run"])
def test_places_no_run_can_have_are_refused_before_it_starts(tmp_path, monkeypatch, place):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("file").write_text("mine")
    with pytest.raises(FolderError, match="; name a") as error:
        check_run_folder(place)
    assert "\n" not in str(error.value)
    assert Path("file").read_text() == "mine"


def test_a_link_to_a_folder_stays_a_link(store, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    write(tmp_path / "run", store, "a cat")
    write(tmp_path / "run", store, "a pig")
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "disk" / "summary.json").exists()
    (tmp_path / "disk" / "mine").write_text("mine")
    with pytest.raises(FolderError, match="holds mine"):
        write(tmp_path / "run", store, "a dog")


def test_latest_follows_runs_but_replaces_nothing_else(store, tmp_path):
    write(tmp_path / "runs" / "one", store, "a cat")
    write(tmp_path / "runs" / "two", store, "a cat")
    assert os.readlink(tmp_path / "runs" / "latest") == "two"
    write(tmp_path / "runs" / "latest", store, "a pig")  # the newest run's own folder
    assert [p.name for p in (tmp_path / "runs" / "two").rglob("*.png")] == ["a-pig-seed-0.png"]

    (tmp_path / "folder" / "latest").mkdir(parents=True)
    (tmp_path / "folder" / "latest" / "mine").write_text("mine")
    write(tmp_path / "folder" / "run", store, "a cat")
    assert (tmp_path / "folder" / "latest" / "mine").read_text() == "mine"

    (tmp_path / "link" / "v3").mkdir(parents=True)
    (tmp_path / "link" / "latest").symlink_to("v3")
    write(tmp_path / "link" / "run", store, "a cat")
    assert os.readlink(tmp_path / "link" / "latest") == "v3"


def test_runs_that_end_in_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len({new_folder("sample") for _ in range(5)}) == 5


LONG = "a drawing of a very small house beside a very large tree in the snow"


@pytest.mark.parametrize(
    "prompts",
    [
        ("a cat", "a cat!", "A cat", "a-cat"),
        ("猫", "犬", "!", "…"),
        (f"{LONG}, by night", f"{LONG}, by day", LONG),
        ("a café", "a cafe", "a cafe\N{COMBINING ACUTE ACCENT}"),
    ],
)
def test_every_prompt_has_files_of_its_own(store, tmp_path, prompts):
    summary = write(tmp_path / "run", store, *prompts)
    paths = [f["path"] for f in summary["files"]]
    assert len({path.lower() for path in paths}) == len(prompts)
    assert all(path.isascii() and len(Path(path).name) < 90 for path in paths)
    again = write(tmp_path / "again", store, *reversed(prompts))
    assert sorted(f["path"] for f in again["files"]) == sorted(paths), "a name depends on the prompt alone"


def test_the_names_of_plain_prompts_are_their_words(store, tmp_path):
    write(tmp_path / "run", store, *SETTINGS.sample.prompts)
    names = {p.name for p in (tmp_path / "run").rglob("*.png")}
    assert names == {f"{prompt.replace(' ', '-')}-seed-0.png" for prompt in SETTINGS.sample.prompts}


def test_the_summary_lists_the_files(store, tmp_path):
    write(tmp_path / "run", store, "a cat")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [f["path"] for f in summary["files"]] == ["samples/epoch-0002/a-cat-seed-0.png"]
