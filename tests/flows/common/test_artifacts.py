"""What people see of a run in the UI: its name, and each stage's counts and pictures."""

import base64
import io
import re
from datetime import UTC, datetime

import pytest
from PIL import Image
from prefect.client.orchestration import get_client

from flows.common.artifacts import FILM_BYTES, film_pages, gallery_address, rejects_table
from flows.common.run_names import run_name
from flows.common.settings import load_profile
from tasks.common.pictures import contact_sheet
from tasks.common.records import Animation, DatasetRef, Reject, StoredFile
from tasks.common.store import Store
from tests.flows.test_wikistyle import SMALL, run_pipeline

PICTURE = re.compile(r"!\[[^\]]*\]\(data:image/(jpeg|gif|avif);base64,([^)]+)\)")


def pictures_in(markdown: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for _, data in PICTURE.findall(markdown)]


def test_each_stage_tells_its_counts_and_shows_its_pictures(prefect, tmp_path):
    summary = run_pipeline(load_profile("sample", SMALL), tmp_path / "runs" / "first")
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/filter", json={"sort": "CREATED_DESC"}).json()
        tasks = {run.name for run in client.read_task_runs()}
        runs = {run.id: run.name for run in client.read_flow_runs()}
    told = {artifact["key"]: artifact["data"] for artifact in reversed(found)}
    for stage, s in summary["stages"].items():
        assert f"{s['in']} in, {s['out']} out, {s['rejected']} set aside" in told[stage]
    for reject in summary["rejects"]:
        assert reject["reason"] in told[reject["stage"]] + told["convert"]
    assert len(pictures_in(told["caption"])) == 12
    assert [picture.size for picture in pictures_in(told["convert"])] == [(8 * 96, 3 * 96)]
    assert [picture.size for picture in pictures_in(told["sample"])] == [(3 * 96, 2 * 96)]
    assert getattr(pictures_in(told["animate"])[0], "n_frames", 1) > 1
    assert getattr(pictures_in(told["pipeline-run"])[1], "n_frames", 1) > 1
    assert pictures_in(told["pipeline-run"])[0].size == (2 * 96, 2 * 96)  # two prompts, two seeds
    pages = "".join(markdown for key, markdown in told.items() if key and key.startswith("films"))
    assert len(pictures_in(pages)) == 5  # two of each of two prompts, and of denoising
    assert str(tmp_path / "runs" / "first" / "gallery" / "index.html") in told["pipeline-run"]
    assert "gallery" not in told  # no address: nothing serves the folder
    revision, today = summary["dataset"]["fingerprint"][:8], f"{datetime.now(UTC):%Y-%m-%d}"
    assert {"build the dataset", "train 2 epochs", "draw epoch 0", "draw epoch 2 out of noise"} <= tasks
    assert {"film of a robot through the epochs", "film of a cat face out of noise"} <= tasks
    for part in ("pipeline run of", "collect", "finetune", "showcase"):
        assert f"{part} sample wiki {revision} {today}" in runs.values()


@pytest.mark.parametrize(
    ("address", "folder", "gallery"),
    [
        ("", "20260131-sample", ""),
        ("http://127.0.0.1:4200/wikistyle/runs", "..", ""),
        ("http://127.0.0.1:4200/wikistyle/runs", "../elsewhere", ""),
        ("http://127.0.0.1:4200/wikistyle/runs", "mine #1", "/mine%20%231/gallery/index.html"),
        ("http://127.0.0.1:4200/wikistyle/runs", "20260131-sample", "/20260131-sample/gallery/index.html"),
        ("http://127.0.0.1:4200/wikistyle/runs/", "20260131-sample", "/20260131-sample/gallery/index.html"),
    ],
)
def test_a_gallery_has_an_address_where_something_serves_its_folder(address, folder, gallery, monkeypatch, tmp_path):
    monkeypatch.setenv("WIKISTYLE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("WIKISTYLE_RUNS_URL", address)
    assert gallery_address(tmp_path / "runs" / folder) == (address.rstrip("/") + gallery if gallery else "")


def film(store: Store, name: str, **sizes: int) -> Animation:
    """One whose files, by ending, have so many bytes."""
    files = tuple(
        StoredFile(path=f"drift/{name}.{ending}", key=store.put(name.encode().ljust(size, b".")), bytes=size)
        for ending, size in sizes.items()
    )
    return Animation(kind="drift", prompt=name, frames=2, files=files)


def test_all_films_are_shown_each_once_and_no_artifact_is_larger_than_its_bound(tmp_path):
    store = Store(str(tmp_path))
    films = [film(store, f"film {i}", mp4=10, gif=FILM_BYTES // 3) for i in range(10)]
    films.insert(4, film(store, "large", gif=FILM_BYTES + 1, webp=FILM_BYTES // 2, png=100))
    films.append(film(store, "vast", gif=FILM_BYTES + 1, webp=FILM_BYTES + 1, png=100))
    pages = film_pages(films, store)
    assert all(len(page) < FILM_BYTES * 1.4 for page in pages)  # base64 makes four of three
    together = "".join(pages)
    assert [together.count(f"*{film.prompt}*") for film in films] == [1] * 12
    assert together.count("data:image/gif") == 10
    assert together.count("data:image/webp") == together.count("data:image/png") == 1
    (first,) = film_pages(films, store, most=1)
    assert first.endswith("9 more films are in the run's folder.")


def test_a_run_is_named_after_wiki_revision_and_date():
    date = datetime(2026, 1, 31, tzinfo=UTC)
    settings = load_profile("simpsons")
    assert run_name("collect", settings, None, date) == "collect simpsons.fandom.com 2026-01-31"
    published = DatasetRef(fingerprint="f" * 64, rows=1, files=(), repo_id="a/b", revision="1f3a99c2" + "0" * 32)
    assert run_name("finetune", settings, published, date) == "finetune simpsons.fandom.com 1f3a99c2 2026-01-31"


def test_names_of_files_cannot_break_the_table():
    table = rejects_table([Reject(title="a|b](x) <img>", sha1="0" * 40, stage="scrape", reason="it's\na banner")])
    assert table.splitlines()[2] == "| a\\|b\\](x) &lt;img&gt; | it's a banner |"


def test_a_contact_sheet_holds_every_picture_once():
    colours = ["red", "green", "blue"]
    files = []
    for colour in colours:
        out = io.BytesIO()
        Image.new("RGBA", (30, 10), colour).save(out, "PNG")
        files.append(out.getvalue())
    sheet = Image.open(io.BytesIO(contact_sheet(files, 2, 40)))
    assert sheet.size == (80, 80)
    for i, colour in enumerate(colours):
        middle = sheet.getpixel((i % 2 * 40 + 20, i // 2 * 40 + 20))
        wanted = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        assert all(abs(a - b) < 12 for a, b in zip(middle, wanted, strict=True))  # type: ignore[arg-type]
