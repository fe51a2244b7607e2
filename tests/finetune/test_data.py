"""What comes in: the split is the pictures' own, and bad input is one clear line."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.finetune.data import decode, read_rows, split
from tasks.finetune.errors import DatasetError, ModelError
from tasks.records import DatasetRef, StoredFile
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


def test_a_wide_picture_is_scaled_by_its_short_side_and_cropped_in_the_middle(store, tmp_path):
    wide = Image.new("RGB", (96, 48), "red")
    wide.paste((0, 0, 255), (24, 0, 72, 48))
    out = io.BytesIO()
    wide.save(out, "PNG")
    row = read_rows(write_dataset(tmp_path / "d", [out.getvalue()]), store)[0]
    pixels = decode(row, 32)
    assert pixels.shape == (32, 32, 3)
    assert (abs(pixels.astype(int) - (0, 0, 255)) < 3)[:, 3:29].all()


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
