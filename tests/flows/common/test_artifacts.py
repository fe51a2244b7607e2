"""What people see of a run in the UI: its name, and each stage's counts and pictures."""

import base64
import io
import re
from datetime import UTC, datetime

from PIL import Image
from prefect.client.orchestration import get_client

from flows.common.artifacts import rejects_table
from flows.common.run_names import run_name
from flows.common.settings import load_profile
from tasks.common.pictures import contact_sheet
from tasks.common.records import DatasetRef, Reject
from tests.flows.test_wikistyle import SMALL, run_pipeline

PICTURE = re.compile(r"!\[[^\]]*\]\(data:image/(jpeg|gif|avif);base64,([^)]+)\)")


def pictures_in(markdown: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for _, data in PICTURE.findall(markdown)]


def test_each_stage_tells_its_counts_and_shows_its_pictures(prefect, tmp_path):
    summary = run_pipeline(load_profile("sample", SMALL), tmp_path / "runs" / "first")
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/filter", json={"sort": "CREATED_DESC"}).json()
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
    assert getattr(pictures_in(told["pipeline-run"])[0], "n_frames", 1) > 1
    revision, today = summary["dataset"]["fingerprint"][:8], f"{datetime.now(UTC):%Y-%m-%d}"
    for part in ("pipeline run of", "collect", "finetune", "showcase"):
        assert f"{part} sample wiki {revision} {today}" in runs.values()


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
