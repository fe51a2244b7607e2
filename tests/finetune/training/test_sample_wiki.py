"""The shipped models on the shipped wiki: the decoder stage brings the wiki's own drawings back better."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from flows.common.settings import load_profile, located
from samples.models.things import caption_of
from tasks.common.records import CaptionedImage, DatasetRef, Original, WikiImage
from tasks.common.rows import read_rows, split
from tasks.common.store import Store
from tasks.convert.convert import convert_each, to_jpegs
from tasks.dataset.build import build_dataset
from tasks.dataset.records import DatasetSource
from tasks.diffusion.loading import load_part
from tasks.finetune.training.decoder import train_decoder
from tasks.finetune.training.latents import cache_latents
from tasks.finetune.training.made import DecoderMade, DecoderProgress
from tasks.finetune.training.parts import decoder_plan
from tasks.finetune.training.resume import Resume
from tasks.finetune.training.steps_loop import LoopContext

WIKI = Path(__file__).parents[3] / "samples" / "wiki"


def wiki_images() -> list[tuple[WikiImage, bytes]]:
    """The wiki's drawings as its scraper would hand them on."""
    found = []
    for row in json.loads((WIKI / "wiki.json").read_text())["files"]:
        if row["mime"].startswith("image/"):
            image = WikiImage(
                url="", page_url="", license="CC BY-SA 4.0",
                **{k: row[k] for k in ("title", "sha1", "mime", "width", "height", "size", "timestamp", "uploader")},
            )  # fmt: skip
            found.append((image, (WIKI / "files" / row["file"]).read_bytes()))
    return found


@pytest.fixture
def sample_dataset(store: Store) -> DatasetRef:
    """Converted as in the demo; captions are the titles' words."""
    settings = located(load_profile("sample"))
    originals = [Original(image=image, key=store.put(data)) for image, data in wiki_images()]
    converted = [done for _, done in convert_each([original.key for original in originals], settings.convert, store)]
    jpegs, rejects = to_jpegs(originals, converted)
    rows = [
        CaptionedImage(jpeg=jpeg, text=caption_of(jpeg.original.image.title[5:].split(".")[0]), raw_text="")
        for jpeg in jpegs
    ]
    source = DatasetSource(
        wiki="http://localhost", site_name="", rights="", rights_basis="", listed=len(originals), aliases=0, caption={}
    )  # fmt: skip
    return build_dataset(rows, rejects, source, settings.dataset, store)


def test_the_decoder_gains_3_db_on_drawings_of_the_wiki_it_never_saw(sample_dataset, store, tmp_path):
    """With the demo's settings, for three of its eight epochs: all eight gain 4.5 dB."""
    settings = located(load_profile("sample")).finetune.model_copy(update={"decoder_epochs": 3})
    accelerator = Accelerator(cpu=True)
    trained, held_out = split(read_rows(sample_dataset, store), settings.held_out)
    assert len(trained) > 250
    assert len(held_out) > 10
    vae: Any = load_part("vae", settings.base_model, None)
    encoded = [cache_latents(vae, "vae", rows, settings.resolution, tmp_path, print) for rows in (trained, held_out)]

    def nothing_kept(step: int, named: dict[str, torch.Tensor], value: float | None) -> DecoderMade:
        return DecoderMade(step=step, file=None, psnr=value)

    last = decoder_plan(len(trained), settings)[1] * settings.decoder_epochs
    context = LoopContext(
        settings, tmp_path, Resume(None, DecoderProgress()), accelerator, lambda step: None, lambda: False
    )
    progress = train_decoder(vae, (encoded[0], trained), (encoded[1], held_out), {0, last}, nothing_kept, context)
    before, after = (progress.snapshots[i].psnr for i in (0, -1))
    assert before
    assert after
    assert after - before >= 3, f"{before:.2f} dB before, {after:.2f} dB after"
