"""A dataset's bytes follow from its rows, a new picture rewrites one file, and its card tells all that matters."""

import io
import random

import pytest
import yaml
from PIL import Image

from tasks.dataset.card import cell
from tasks.dataset.folder import load_rows
from tasks.dataset.records import DatasetError
from tests.dataset.rows import Builder, row


def test_equal_rows_give_equal_bytes_in_any_order(builder: Builder):
    rows = builder.rows(*range(40))
    first = builder.build(rows)
    random.Random(0).shuffle(rows)
    assert builder.build(rows) == first
    assert len([f for f in first.files if f.path.endswith(".parquet")]) > 2


def test_fingerprint_follows_captions_and_pictures(builder: Builder):
    rows = builder.rows(*range(10))
    first = builder.build(rows).fingerprint
    assert builder.build(rows, rejects=()).fingerprint == first
    assert builder.build(rows[1:]).fingerprint != first
    assert builder.build([row(0, builder.store, text="another caption"), *rows[1:]]).fingerprint != first


@pytest.mark.parametrize("extra", [100, 101, 102, 103])
def test_one_new_picture_rewrites_one_file(builder: Builder, extra):
    before = {f.key for f in builder.build(builder.rows(*range(60))).files if f.path != "README.md"}
    after = {f.key for f in builder.build(builder.rows(*range(60), extra)).files if f.path != "README.md"}
    assert len(before) >= 4
    assert len(after - before) == 1
    assert len(before - after) == 1


def test_rows_hold_the_jpegs_as_they_were_and_where_they_came_from(builder: Builder):
    rows = builder.rows(1, 2, 3)
    loaded = {row["title"]: row for row in load_rows(builder.build(rows), builder.store)}
    for expected in rows:
        image, got = expected.jpeg.original.image, loaded[expected.jpeg.original.image.title]
        assert got["image"] == builder.store.read(expected.jpeg.key)
        assert Image.open(io.BytesIO(got["image"])).size == (got["width"], got["height"]) == (64, 48)
        assert (got["text"], got["raw_text"]) == (expected.text, expected.raw_text)
        assert (got["source_url"], got["page_url"]) == (image.url, image.page_url)
        assert (got["uploader"], got["license"], got["sha1"]) == (image.uploader, image.license, image.sha1)
        assert (got["jpeg_sha256"], got["timestamp"]) == (expected.jpeg.key, image.timestamp)


def test_card(builder: Builder):
    ref = builder.build(builder.rows(*range(42)))
    card = builder.read(ref, "README.md").decode()
    matter = yaml.safe_load(card.split("---\n")[1])
    assert matter["license"] == "cc-by-sa-4.0"
    assert matter["task_categories"] == ["text-to-image"]
    assert matter["annotations_creators"] == ["machine-generated"]
    assert matter["dataset_info"]["splits"][0]["num_examples"] == 42
    shards = sum(f.bytes for f in ref.files if f.path.endswith(".parquet"))
    assert matter["dataset_info"]["download_size"] == shards
    for fact in (
        "[Example Wiki](https://wiki.example/api.php)",
        "| Newest file | 2024-01-28T00:00:00Z |",
        "| Why these files may be used here | We drew them ourselves. |",
        "ann@wiki.example",
        "44 files listed = 42 rows + 1 other names of the same files + 1 set aside.",
        r"| File:Icon\|&lt;b&gt;.png | convert | 16×16 px is smaller than min\_side 64 |",
        "| CC BY-SA 4.0 | 21 |",
        r"| Bob \[x\] | 14 |",
        "| num\\_beams | 3 |",
    ):
        assert fact in card, f"{fact} is not in\n{card}"


def test_a_strangers_words_stay_words():
    assert cell("a|b\n[c](d) <script> `x`") == "a\\|b \\[c\\](d) &lt;script&gt; \\`x\\`"


def test_no_rows_is_an_error_with_a_remedy(builder: Builder):
    with pytest.raises(DatasetError, match=r"all of the 44 files of .* were set aside .*loosen"):
        builder.build([])
