"""What counts as a change of a wiki."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from flows.common import handoff
from flows.common.report import Collected
from flows.watch import TRY_AGAIN, Changes, changes, last_collected
from tasks.common.records import DatasetRef, Inventory, Reject, WikiImage

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sha1(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


def image(name: str, title: str = "", *aliases: str) -> WikiImage:
    return WikiImage(
        title=title or f"File:{name}.png", sha1=sha1(name), url="", page_url="", mime="image/png", width=64, height=64,
        size=1, timestamp="", uploader="", license="", aliases=aliases,
    )  # fmt: skip


def inventory(*images: str | WikiImage, left_out: tuple[str, ...] = ()) -> Inventory:
    return Inventory(
        wiki="", site_name="", rights="", listed=len(images) + len(left_out),
        images=tuple(i if isinstance(i, WikiImage) else image(i) for i in images),
        rejects=tuple(reject(name, "scrape") for name in left_out),
    )  # fmt: skip


def reject(name: str, stage: str) -> Reject:
    return Reject(title=f"File:{name}.png", sha1=sha1(name), stage=stage, reason="on the take-down list")


def rows(*names: str) -> dict[str, str]:
    return {sha1(name): f"File:{name}.png" for name in names}


def test_what_the_dataset_does_not_know_is_new():
    assert changes(inventory("a", "b"), rows("a"), set()) == Changes(new=("File:b.png",))
    assert changes(inventory("a", "b"), rows("a"), {sha1("b")}) == Changes()
    assert changes(inventory("a"), {}, set()) == Changes(new=("File:a.png",))


def test_what_the_wiki_has_no_more_or_under_another_title_is_gone():
    assert changes(inventory("a"), rows("a", "b"), set()) == Changes(gone=("File:b.png",))
    assert changes(inventory(image("a", "File:A2.png")), rows("a"), set()) == Changes(gone=("File:a.png",))
    assert changes(inventory(image("a", "File:A2.png", "File:a.png")), rows("a"), set()) == Changes()
    uploaded_over = inventory(image("b", "File:a.png"))
    assert changes(uploaded_over, rows("a"), set()) == Changes(new=("File:a.png",), gone=("File:a.png",))


def test_what_is_taken_down_is_withdrawn_and_starts_the_pipeline_run_at_once():
    found = changes(inventory("a", left_out=("b", "never a row")), rows("a", "b"), set())
    assert found == Changes(withdrawn=("File:b.png",))
    assert found.enough(50)


@pytest.mark.parametrize(("at_least", "enough"), [(1, True), (3, True), (4, False)])
def test_new_and_gone_count_together(at_least, enough):
    assert changes(inventory("a", "c", "d"), rows("a", "b"), set()).enough(at_least) is enough
    assert not Changes().enough(1)


def collected(tmp_path, monkeypatch, *rejects: Reject, not_fetched: tuple[str, ...] = ()) -> dict:
    monkeypatch.setenv("WIKISTYLE_HOME", str(tmp_path))
    record = Collected(
        dataset=DatasetRef(fingerprint="", rows=0, files=()), wiki="", site_name="", listed=0, duplicates=0,
        rejects=rejects, stages=(), at=NOW, not_fetched=not_fetched,
    )  # fmt: skip
    handoff.keep("sample", "collect", record)
    return record.model_dump(mode="json")


def test_what_scrape_left_out_is_not_collected_and_what_the_wiki_did_not_give_is_tried_daily(tmp_path, monkeypatch):
    """A title that is struck off the take-down list is new at once."""
    rejects = [reject("struck off", "scrape"), reject("lost", "scrape"), reject("broken", "convert")]
    collected(tmp_path, monkeypatch, *rejects, not_fetched=(sha1("lost"),))
    assert last_collected("sample", NOW + TRY_AGAIN - timedelta(seconds=1)) == ({}, {sha1("broken"), sha1("lost")})
    assert last_collected("sample", NOW + TRY_AGAIN) == ({}, {sha1("broken")})
    assert last_collected("another", NOW) == ({}, set())


def test_what_an_older_version_kept_can_be_read(tmp_path, monkeypatch):
    kept = collected(tmp_path, monkeypatch, reject("broken", "convert"))
    old = {name: value for name, value in kept.items() if name not in ("at", "not_fetched")}
    (tmp_path / "parts" / "sample" / "collect.json").write_text(json.dumps(old))
    assert last_collected("sample", NOW) == ({}, {sha1("broken")})
