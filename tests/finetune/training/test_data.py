"""What comes in: the split is the pictures' own, and bad input is one clear line."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.common.errors import DatasetError, ModelError
from tasks.common.records import DatasetRef, StoredFile
from tasks.common.rows import Row, decode, read_rows, split
from tests.finetune.tiny import png, run, settings_for, write_dataset


def test_the_split_follows_each_picture_when_others_come_and_go(store, tmp_path):
    images = [png(i) for i in range(60)]
    every = read_rows(write_dataset(tmp_path / "all", images), store)
    fewer = read_rows(write_dataset(tmp_path / "fewer", images[20:][::-1]), store)
    kept_apart = {row.id for row in split(every, 0.2)[1]}
    assert 4 <= len(kept_apart) <= 22
    assert {row.id for row in split(fewer, 0.2)[1]} == kept_apart & {row.id for row in fewer}
    assert split(every, 0.0) == (every, [])


def test_a_dataset_in_the_store_reads_as_the_same_rows_as_a_folder(store, dataset):
    key = store.put_file(Path(dataset) / "train.parquet")
    kept = DatasetRef(fingerprint="f", rows=14, files=(StoredFile(path="data/a.parquet", key=key, bytes=1),))
    assert read_rows(kept, store) == read_rows(dataset, store)


def test_a_row_of_a_dataset_in_the_store_that_is_none_is_told_by_dataset_and_number(store, tmp_path):
    table = pa.table({"image": [{"bytes": png(0), "path": "a"}, {"bytes": None, "path": "b"}], "text": ["a", "b"]})
    pq.write_table(table, tmp_path / "x.parquet")
    key = store.put_file(tmp_path / "x.parquet")
    kept = DatasetRef(fingerprint="f" * 64, rows=2, files=(StoredFile(path="data/a.parquet", key=key, bytes=1),))
    with pytest.raises(DatasetError, match=r"^dataset ffffffffffff: row 1 has no picture of its own"):
        read_rows(kept, store)
    with pytest.raises(DatasetError, match=r"^dataset owner/name: row 1 has"):
        read_rows(kept.model_copy(update={"repo_id": "owner/name"}), store)


def test_a_wide_picture_is_scaled_by_its_short_side_and_cropped_in_the_middle(store, tmp_path):
    wide = Image.new("RGB", (96, 48), "red")
    wide.paste((0, 0, 255), (24, 0, 72, 48))
    out = io.BytesIO()
    wide.save(out, "PNG")
    row = read_rows(write_dataset(tmp_path / "d", [out.getvalue()]), store)[0]
    pixels = decode(row, 32)
    assert pixels.shape == (32, 32, 3)
    assert (abs(pixels.astype(int) - (0, 0, 255)) < 3)[:, 3:29].all()


@pytest.mark.parametrize(
    ("size", "scaled", "box"),
    [
        ((32, 41), None, (0, 4, 32, 36)),
        ((45, 32), None, (6, 0, 38, 32)),
        ((100, 47), (68, 32), (18, 0, 50, 32)),
        ((47, 101), (32, 69), (0, 18, 32, 50)),
        ((16, 20), (32, 40), (0, 4, 32, 36)),
        ((31, 31), (32, 32), (0, 0, 32, 32)),
        ((1, 2000), (32, 64000), (0, 31984, 32, 32016)),
    ],
)
def test_a_picture_is_scaled_by_lanczos_and_cropped_in_the_middle(size, scaled, box):
    chance = np.random.default_rng(0)
    picture = Image.fromarray(chance.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
    out = io.BytesIO()
    picture.save(out, "PNG")
    wanted = (picture.resize(scaled, Image.Resampling.LANCZOS) if scaled else picture).crop(box)
    assert np.array_equal(decode(Row("0" * 64, out.getvalue(), ""), 32), np.asarray(wanted))


def test_a_grey_picture_is_decoded_as_rgb():
    out = io.BytesIO()
    Image.new("L", (32, 32), 77).save(out, "PNG")
    assert np.array_equal(decode(Row("0" * 64, out.getvalue(), ""), 32), np.full((32, 32, 3), 77))


def test_the_border_of_the_split_is_a_share_of_all_hashes():
    def row(start: str) -> Row:
        return Row(start.ljust(64, "f"), b"", "")

    rows = [row("00000000"), row("3fffffff"), row("40000000"), row("ffffffff")]
    assert split(rows, 0.25) == (rows[2:], rows[:2])
    assert split(rows[:2], 0.25) == (rows[:2], [])  # some must be trained
    assert split(rows, 0.0) == (rows, [])


def test_rows_of_several_files_are_read_once_each_with_their_captions_in_the_order_of_hashes(store, tmp_path):
    """A picture that is there twice is one row; files beside the parquet ones are left alone."""
    files = [StoredFile(path="README.md", key=store.put(b"# A dataset"), bytes=1)]
    for number, ids in enumerate(([0, 1, 2], [2, 3])):
        folder = write_dataset(tmp_path / str(number), [png(i) for i in ids], [f"a cat {i}" for i in ids])
        key = store.put_file(Path(folder) / "train.parquet")
        files.append(StoredFile(path=f"data/{number}.parquet", key=key, bytes=1))
    rows = read_rows(DatasetRef(fingerprint="f", rows=5, files=tuple(files)), store)
    wanted = {hashlib.sha256(png(i)).hexdigest(): (png(i), f"a cat {i}") for i in range(4)}
    assert [(row.id, row.image, row.text) for row in rows] == [(i, *wanted[i]) for i in sorted(wanted)]


def test_a_picture_that_lies_beside_its_row_is_read(store, tmp_path):
    """As datasets of a folder of pictures are: no bytes, a path."""
    (tmp_path / "one.png").write_bytes(png(1))
    path = tmp_path / "d" / "train.parquet"
    path.parent.mkdir()
    image = {"bytes": None, "path": str(tmp_path / "one.png")}
    pq.write_table(pa.table({"image": [image, PICTURE], "text": ["one", "nought"]}), path)
    assert {row.text: row.image for row in read_rows(str(path.parent), store)} == {"one": png(1), "nought": png(0)}


def test_a_stored_dataset_without_captions_is_named_by_its_repository(store, tmp_path):
    pq.write_table(pa.table({"image": [PICTURE]}), tmp_path / "a.parquet")
    file = StoredFile(path="data/a.parquet", key=store.put_file(tmp_path / "a.parquet"), bytes=1)
    with pytest.raises(DatasetError, match=r"^dataset ada/wiki has no column text \(it has image\); rename"):
        read_rows(DatasetRef(fingerprint="f", rows=1, files=(file,), repo_id="ada/wiki"), store)


def test_a_dataset_is_named_by_its_repository_or_its_fingerprint(store):
    for named, name in (({"repo_id": "ada/wiki"}, "ada/wiki"), ({}, "0123456789ab")):
        with pytest.raises(DatasetError, match=f"^dataset {name} has no rows; collect images"):
            read_rows(DatasetRef(fingerprint="0123456789abcdef", rows=0, files=(), **named), store)


def assert_one_line(error: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


def test_an_empty_dataset(store):
    with pytest.raises(DatasetError) as error:
        read_rows(DatasetRef(fingerprint="0" * 64, rows=0, files=()), store)
    assert_one_line(error, "no rows", "collect images")


def test_a_missing_column_is_named_and_those_there_too(store, tmp_path):
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"picture": ["x"], "text": ["y"]}), tmp_path / "d" / "train.parquet")
    with pytest.raises(DatasetError) as error:
        read_rows(str(tmp_path / "d"), store)
    assert_one_line(error, "no column image", "picture, text", "rename")


PICTURE = {"bytes": png(0), "path": None}


@pytest.mark.parametrize(
    ("image", "text", "fault"),
    [
        (None, "a cat", "row 1 has no picture"),
        ({"bytes": None, "path": "https://example.org/a.png"}, "a cat", "row 1 has no picture"),
        (PICTURE, ["a cat", "an animal"], "row 1 has no text"),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_a_row_without_picture_or_caption_is_named(kept, image, text, fault, store, tmp_path):
    path = tmp_path / "d" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"image": [PICTURE, image], "text": [None, text]}), path)
    file = StoredFile(path="data/a.parquet", key=store.put_file(path), bytes=1)
    with pytest.raises(DatasetError) as error:
        read_rows(DatasetRef(fingerprint="f", rows=2, files=(file,)) if kept else str(path.parent), store)
    assert_one_line(error, fault, "mend or remove")


def test_a_caption_that_is_missing_is_the_empty_one(store, tmp_path):
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"image": [PICTURE], "text": pa.array([None], pa.string())}), tmp_path / "d" / "a.parquet")
    assert [row.text for row in read_rows(str(tmp_path / "d"), store)] == [""]


def test_an_empty_folder(store, tmp_path):
    with pytest.raises(DatasetError) as error:
        read_rows(str(tmp_path), store)
    assert_one_line(error, str(tmp_path), "can't be loaded")


def test_a_dataset_that_is_not_there(store):
    with pytest.raises(DatasetError) as error:
        read_rows("/nowhere/at/all", store)
    assert_one_line(error, "/nowhere/at/all")


def test_pictures_that_no_longer_decode_stop_it_before_the_first_step(store, base, tmp_path):
    images = [png(i) for i in range(6)]
    images[2], images[4] = images[2][:60], b"<html>not found</html>"
    steps = []
    with pytest.raises(DatasetError) as error:
        run(
            write_dataset(tmp_path / "d", images), settings_for(base, held_out=0.0), tmp_path / "t", store,
            report=lambda stage, step: steps.append(step),
        )  # fmt: skip
    assert_one_line(error, "2 of 6 pictures", "a red car", "remove the row")
    assert steps == []


def test_captions_over_the_limit_are_cut_and_counted(store, base, tmp_path):
    texts = ["a cat", "a house " * 60, "a red car " * 60, "a cat"]
    dataset = write_dataset(tmp_path / "d", [png(i) for i in range(4)], texts)
    said = []
    settings = settings_for(base, epochs=1, held_out=0.0, decoder_epochs=0)
    assert run(dataset, settings, tmp_path / "t", store, log=said.append).truncated_captions == 2
    assert any("2 of 4 captions are over" in line for line in said)


def test_a_base_model_that_is_not_there(store, dataset, tmp_path):
    with pytest.raises(ModelError) as error:
        run(dataset, settings_for(str(tmp_path / "no-model")), tmp_path / "t", store)
    assert_one_line(error, "no-model", "unet")
