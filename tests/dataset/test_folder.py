"""The dataset on disk, as `datasets` itself reads it."""

import os
from pathlib import Path

import pytest

from tasks.dataset.folder import materialise
from tasks.dataset.records import DatasetError
from tests.dataset.rows import Builder


@pytest.fixture(autouse=True)
def own_datasets_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_load_dataset_reads_the_parquet_folder(builder: Builder, tmp_path):
    from datasets import load_dataset

    materialise(builder.build(builder.rows(*range(20))), tmp_path / "out", builder.store)
    loaded = load_dataset(str(tmp_path / "out"), split="train")  # checks the card's row count
    assert len(loaded) == 20
    assert loaded[0]["image"].size == (64, 48)
    assert sorted(loaded["text"])[0] == "a drawing of number 0"
    assert list(loaded["sha1"]) == sorted(loaded["sha1"])


def test_an_empty_folder_is_filled_and_nothing_is_left_beside_it(builder: Builder, tmp_path):
    (tmp_path / "out").mkdir()
    ref = builder.build(builder.rows(*range(40)))
    materialise(ref, tmp_path / "out", builder.store)
    assert set(content(tmp_path / "out")) == {file.path for file in ref.files}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["thesis.tex", "README.md", "data/train-00000-of-00001.parquet", "train/holiday.jpg"])
def test_somebody_elses_folder_is_left_alone(builder: Builder, tmp_path, name):
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("years of work")
    with pytest.raises(DatasetError, match=rf"holds {name}.*name a new or empty folder"):
        materialise(builder.build(builder.rows(1)), tmp_path / "out", builder.store)
    assert content(tmp_path / "out") == {name: b"years of work"}


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_unwritable_place(builder: Builder, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(DatasetError, match="can't be written"):
        materialise(builder.build(builder.rows(1)), tmp_path / "closed" / "out", builder.store)


def test_a_file_in_the_way(builder: Builder, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(DatasetError):
            materialise(builder.build(builder.rows(1)), folder, builder.store)
