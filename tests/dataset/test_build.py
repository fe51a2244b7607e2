"""A dataset's bytes follow from its rows, a new picture adds one file, and its card tells all that matters."""

import io
import random

import pytest
import yaml
from huggingface_hub import DatasetCard
from PIL import Image

from tasks.common.markdown import cell
from tasks.common.records import CaptionedImage, DatasetRef
from tasks.common.store import Store
from tasks.dataset.folder import load_rows
from tasks.dataset.records import DatasetError
from tasks.dataset.settings import DatasetSettings
from tasks.dataset.shards import ordered, write
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


def shards(ref: DatasetRef) -> dict[str, int]:
    """Bytes of the parquet files, by key."""
    return {file.key: file.bytes for file in ref.files if file.path.endswith(".parquet")}


@pytest.mark.parametrize("extra", [100, 101, 102, 103])
def test_one_new_picture_adds_one_file_and_rewrites_none(builder: Builder, extra):
    before = shards(builder.build(builder.rows(*range(60))))
    after = shards(builder.build(builder.rows(*range(60), extra)))
    assert len(before) >= 4
    assert before.keys() < after.keys()
    assert len(after) == len(before) + 1


def test_a_picture_that_goes_rewrites_its_own_file(builder: Builder):
    before = shards(builder.build(builder.rows(*range(60))))
    ref = builder.build(builder.rows(*range(1, 60)))
    after = shards(ref)
    assert len(before.keys() - after.keys()) == 1
    assert "File:Drawing 0.png" not in {row["title"] for row in load_rows(ref, builder.store)}


def test_growing_by_one_percent_rewrites_little_and_files_stay_few(builder: Builder):
    def heavy(*numbers: int) -> list[CaptionedImage]:
        """Rows of 20 kB, beside which a file's own head and foot count little, as they do beside real pictures."""
        made = []
        for number, light in zip(numbers, builder.rows(*numbers), strict=True):
            data = builder.store.read(light.jpeg.key) + random.Random(number).randbytes(20_000)
            jpeg = light.jpeg.model_copy(update={"key": builder.store.put(data)})
            made.append(light.model_copy(update={"jpeg": jpeg}))
        return made

    builder.settings = builder.settings.model_copy(update={"shard_rows": 100})
    count = 400
    rows = heavy(*range(count))
    known = shards(builder.build(rows))
    for _ in range(30):
        new = max(1, count // 100)
        rows += heavy(*range(count, count + new))
        count += new
        ref = builder.build(rows)
        now = shards(ref)
        assert sum(size for key, size in now.items() if key not in known) <= 0.05 * sum(now.values())
        known = now
    assert len(known) <= 25
    assert {row["title"] for row in load_rows(ref, builder.store)} == {f"File:Drawing {i}.png" for i in range(count)}
    paths = [file.path for file in ref.files if file.path != "README.md"]
    assert paths == sorted(set(paths))


def test_the_fingerprint_is_of_the_rows_and_not_of_the_files(builder: Builder, tmp_path):
    rows = builder.rows(*range(60))
    builder.build(rows[:40])
    grown = builder.build(rows)
    other = Builder(Store(str(tmp_path / "other")))
    fresh, again = other.build(other.rows(*range(60))), other.build(other.rows(*range(60)))
    assert shards(grown) != shards(fresh)
    assert grown.fingerprint == fresh.fingerprint
    assert again == fresh


def test_a_file_lost_from_the_store_is_written_again(builder: Builder):
    rows = builder.rows(*range(60))
    first = builder.build(rows)
    builder.store._at(next(iter(shards(first)))).unlink()
    assert builder.build(rows) == first


def test_files_with_rows_in_common_share_most_of_their_bytes(builder: Builder):
    """Content-defined chunking: a row put into the middle leaves the pages around it as they were."""
    rows = ordered(builder.rows(*range(300)))
    plain, grown = (builder.store.read(write(part, builder.store).file.key) for part in (rows[:150] + rows[151:], rows))
    pages = {plain[at : at + 64] for at in range(len(plain) - 64)}
    aligned = [grown[at : at + 64] for at in range(0, len(grown) - 64, 64)]
    assert sum(piece in pages for piece in aligned) > 0.5 * len(aligned)


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


@pytest.mark.parametrize("title", ["Drawings: 'of' [a] wiki # no.1", '--- "x": {y}', "Zeichnungen · 絵", "yes"])
def test_the_hubs_own_loader_reads_the_front_matter_whatever_the_title(builder: Builder, title):
    builder.settings = DatasetSettings(title=title, license="other")
    ref = builder.build(builder.rows(*range(5)))
    card = DatasetCard(builder.read(ref, "README.md").decode())
    assert (card.data["pretty_name"], card.data["license"]) == (title, "other")
    assert card.data["license_name"] == "of-each-file"
    assert card.data["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert card.text.strip().startswith(f"# {title}")


def test_a_strangers_words_stay_words():
    assert cell("a|b\n[c](d) <script> `x`") == "a\\|b \\[c\\](d) &lt;script&gt; \\`x\\`"


def test_no_rows_is_an_error_with_a_remedy(builder: Builder):
    with pytest.raises(DatasetError, match=r"all of the 44 files of .* were set aside .*loosen"):
        builder.build([])
