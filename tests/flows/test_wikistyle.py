"""The whole pipeline on a handful of images with the shipped models: every stage for real, then from the cache."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from flows.common.settings import Settings, load_profile
from flows.wikistyle import wikistyle
from tasks.common.store import Store

SMALL = [
    "scrape.max_images=24",
    "finetune.epochs=2",
    "finetune.snapshot_every=1",
    "finetune.decoder_epochs=1",
    "finetune.held_out=0.45",
    'sample.prompts=["a cat face", "a robot"]',
    "sample.seeds=[0, 1]",
    "sample.num_inference_steps=4",
    "measure.num_inference_steps=2",
    "sample.dial_frames=5",
]


@pytest.fixture
def small() -> Settings:
    return load_profile("sample", SMALL)


def run_pipeline(settings: Settings, folder: Path) -> dict:
    asyncio.run(wikistyle(settings, str(folder)))
    return json.loads((folder / "summary.json").read_text())


def check_measures(summary: dict[str, Any]) -> None:
    """Every snapshot and what lies before the promising ones is measured; one is recommended, with a reason."""
    points = [(one["epoch"], one["strength"]) for one in summary["measures"]]
    assert {(0, 0.0), (1, 1.0), (2, 1.0)} < set(points)
    assert len(points) == 4  # and one between the base and the more promising
    for one in summary["measures"]:
        for name in ("style_distance", "style_way", "prompt_agreement", "composition", "copies"):
            assert one[name]["low"] <= one[name]["value"] <= one[name]["high"]
    assert all(one["probe_loss"] > 0 for one in summary["measures"] if one["strength"] in (0, 1))
    assert summary["recommended_because"]
    assert (summary["recommended_epoch"], summary["recommended_strength"]) in [*points, (None, None)]
    assert {"title", "uploader", "license"} < set(summary["nearest"][0]["trained"])


def test_a_wiki_becomes_a_model_and_films_and_a_second_run_costs_nothing(prefect, small, tmp_path):
    first = run_pipeline(small, tmp_path / "runs" / "first")
    folder = tmp_path / "runs" / "first"
    assert set(first["stages"]) == {
        "scrape",
        "convert",
        "caption",
        "dataset",
        "finetune",
        "sample",
        "measure",
        "animate",
    }
    rows, wiki = first["dataset"]["rows"], first["wiki"]
    assert rows + len(first["rejects"]) + wiki["duplicates"] == wiki["listed"]
    assert [s["epoch"] for s in first["snapshots"]] == [0, 1, 2]
    assert first["snapshots"][0]["weights"] == "base"
    assert [e["epoch"] for e in first["epochs"]] == [0, 1, 2]
    check_measures(first)
    assert len(list((folder / "samples").rglob("*.png"))) == 3 * 2 * 2
    for kind in ("dial", "training"):
        assert {p.name for p in (folder / "gifs" / kind).glob("*.gif")} == {"a-cat-face.gif", "a-robot.gif"}
    assert (folder / "gallery" / "index.html").stat().st_size > 50_000
    for file in first["files"]:
        assert hashlib.sha256((folder / file["path"]).read_bytes()).hexdigest() == file["sha256"]
    assert (tmp_path / "runs" / "latest").resolve() == folder.resolve()

    second = run_pipeline(small, tmp_path / "runs" / "second")
    ran = {name: s["ran"] for name, s in second["stages"].items()}
    assert ran == dict.fromkeys(ran, 0)
    for name in ("scrape", "convert", "caption"):
        assert second["stages"][name]["cached"] == first["stages"][name]["ran"] >= rows, "items, not task runs"
    made = ("samples/", "gifs/", "model/", "dataset/")
    assert [f for f in second["files"] if f["path"].startswith(made)] == [
        f for f in first["files"] if f["path"].startswith(made)
    ]

    lost = first["files"][0]["sha256"]  # a file of the dataset
    Store()._at(lost).unlink()
    third = run_pipeline(small, tmp_path / "runs" / "third")
    assert third["stages"]["dataset"]["ran"] == 1
    assert third["stages"]["finetune"]["ran"] == 0


def test_the_dataset_and_the_model_load_without_wikistyle(prefect, small, tmp_path):
    run_pipeline(small, tmp_path / "runs" / "only")
    import datasets
    import torch
    from diffusers import StableDiffusionPipeline

    folder = tmp_path / "runs" / "only"
    rows = datasets.load_dataset(str(folder / "dataset"), split="train", cache_dir=str(tmp_path / "hf"))
    assert rows[0]["image"].mode == "RGB"
    assert rows[0]["text"]
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder / "model", torch_dtype=torch.float32)
    picture = pipeline("a robot", num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (64, 64, 3)
    base: Any = StableDiffusionPipeline.from_pretrained(small.finetune.base_model, torch_dtype=torch.float32)
    for part in ("text_encoder", "vae.encoder", "vae.quant_conv"):
        ours, theirs = _part(pipeline, part).state_dict(), _part(base, part).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs), f"{part} stays as it was"
    assert not torch.equal(pipeline.unet.conv_in.weight, base.unet.conv_in.weight)
    assert not torch.equal(pipeline.vae.decoder.conv_out.weight, base.vae.decoder.conv_out.weight)


def _part(pipeline, path: str):
    part = pipeline
    for name in path.split("."):
        part = getattr(part, name)
    return part
