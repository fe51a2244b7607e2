"""A run's parts become the page's terms, whether or not there were measures and pictures between snapshots."""

import io
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from flows.common.gallery import base_name, drawings
from flows.common.gallery_inputs import measured_of, nearest_of, straight_of
from flows.common.report import Collected
from flows.common.settings import load_profile
from tasks.animate.page import Anchor, Figure, Recommended
from tasks.common.records import Between, DatasetRef, StoredFile
from tasks.common.store import Store
from tasks.measure import records


def test_a_base_model_is_named_for_people(tmp_path):
    sample = load_profile("sample")
    real = load_profile("simpsons", ["scrape.rights_basis=mine"])
    hub = real.finetune.base_model
    assert base_name(sample, sample.finetune.base_model) == "the tiny Stable Diffusion that comes with wikistyle"
    assert base_name(real, hub) == hub == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    (tmp_path / "house-model").mkdir()
    assert base_name(real, str(tmp_path / "house-model")) == "a Stable Diffusion model of their own (house-model)"


def test_drawings_are_from_evenly_through_the_dataset_with_their_credits(tmp_path, monkeypatch):
    store = Store(str(tmp_path / "store"))
    rows = [
        {
            "image": {"bytes": b"jpeg %d" % i, "path": None}, "title": f"File:{i}.png", "uploader": "Ann",
            "license": "CC0-1.0", "page_url": f"https://wiki.example/{i}", "text": f"thing {i}",
        }
        for i in range(100)
    ]  # fmt: skip
    data = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), data)
    file = StoredFile(path="data/train-0.parquet", key=store.put(data.getvalue()), bytes=len(data.getvalue()))
    collected = Collected(
        dataset=DatasetRef(fingerprint="f", rows=100, files=(file,)), wiki="w", site_name="W", listed=100,
        duplicates=0, rejects=(), stages=(),
    )  # fmt: skip
    shown = drawings(collected, store)
    numbers = [int(picture.caption.split()[1]) for picture in shown]
    assert (len(shown), numbers[0], numbers[-1]) == (36, 0, 99)
    assert {b - a for a, b in pairwise(numbers)} == {2, 3}
    assert [store.read(picture.key) for picture in shown] == [b"jpeg %d" % n for n in numbers]
    assert (shown[1].uploader, shown[1].license, shown[1].page_url) == (
        "Ann",
        "CC0-1.0",
        f"https://wiki.example/{numbers[1]}",
    )
    assert drawings(None, store) == ()


def test_the_straight_way_is_told_from_frames_between_neighbours():
    between = [
        Between(prompt="a cat", seed=0, since=a, epoch=b, strength=0.5, key="k") for a, b in ((0, 2), (2, 4), (0, 4))
    ]
    assert [(d.epoch, d.strength) for d in straight_of(between)] == [(4, 0.5)]
    assert straight_of(()) == ()


def test_measures_and_nearest_pairs_keep_their_figures():
    one = records.Figure(value=3.0, low=2.0, high=4.0)
    row = records.Measures(
        epoch=14, strength=0.8, style_distance=one, style_way=one, prompt_agreement=one, composition=one, copies=one,
        heldout_loss=None, probe_loss=None, decoder_psnr=None,
    )  # fmt: skip
    trained = records.Credit(key="t", title="File:A.png", uploader="Ann", license="CC0-1.0", page_url="")
    pair = records.NearestPair(
        sample="s", prompt="a cat", seed=1, epoch=14, trained=trained, likeness=0.9, copied=True
    )  # fmt: skip
    anchors = records.Anchors(
        base_style=one, base_agreement=one, style_floor=one, drawings_agreement=one, copies_null=0.05, subjects=9,
        pictures=9,
    )  # fmt: skip
    found = records.Recommendation(epoch=14, strength=0.8, because="nearest")
    measured = records.Measured(measures=(row,), anchors=anchors, recommendation=found, nearest=(pair,))
    page = measured_of(measured)
    assert page.rows[0].composition == Figure(value=3, low=2, high=4)
    assert (page.anchors.style_distance, page.anchors.copies) == (Anchor(base=3, wiki=3), Anchor(wiki=0.05))
    assert page.recommended == Recommended(epoch=14, strength=0.8, because="nearest")
    assert [(n.sample.key, n.sample.strength, n.trained.title, n.copied) for n in nearest_of(measured)] == [
        ("s", 1, "File:A.png", True)
    ]
    assert measured_of(measured.model_copy(update={"anchors": None})).anchors.prompt_agreement == Anchor()
