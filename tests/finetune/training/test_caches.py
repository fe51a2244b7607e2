"""What the frozen models say, cached, against asking them by hand: each picture its own latents and caption."""

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tasks.common.rows import read_rows, split
from tasks.finetune.training.caches import cache_all
from tasks.finetune.training.objective import TrainingData
from tests.finetune.tiny import png, settings_for, write_dataset
from tests.finetune.training import reference

PROMPTS = ("a cat", "a red car 1", "a house", "a cat")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """More pictures than are encoded at once; some share a caption, some have none, one has too long a one."""
    texts = [f"a red car {i}" for i in range(40)]
    texts[3] = texts[4] = "a cat"
    texts[5] = ""
    texts[6:9] = ["a house " * 60] * 3
    return write_dataset(tmp_path_factory.mktemp("many"), [png(i) for i in range(40)], texts)


@pytest.fixture
def cached(many, base, store, tmp_path) -> TrainingData:
    return cache(many, base, store, tmp_path / "caches")


def cache(dataset: str, base: str, store: Any, folder: Any, said: list[str] | None = None) -> TrainingData:
    settings = settings_for(base, validation_prompts=PROMPTS)
    log = said.append if said is not None else lambda line: None
    return cache_all(*split(read_rows(dataset, store), 0.2), settings, folder, Accelerator(), log)


def test_latents_are_the_scaled_posterior_of_each_picture(cached, many, base):
    pipe = reference.load_pipeline(base)
    trained, held_out = reference.parted(reference.pictures(many), 0.2)
    assert len(trained) > 16
    for latents, wanted in ((cached.latents, trained), (cached.held_out_latents, held_out)):
        assert latents.ids == tuple(picture.id for picture in wanted)
        for number, picture in enumerate(wanted):
            with torch.no_grad():
                posterior = pipe.vae.encode(picture.pixels[None]).latent_dist
            for found, own in ((latents.mean, posterior.mean), (latents.std, posterior.logvar.exp().sqrt())):
                torch.testing.assert_close(found[number], own[0] * 0.18215, rtol=1e-4, atol=1e-5)


def test_latents_read_from_disk_are_those_encoded(cached, many, base, store, tmp_path):
    again = cache(many, base, store, tmp_path / "caches")
    assert torch.equal(again.latents.mean, cached.latents.mean)
    assert torch.equal(again.latents.std, cached.latents.std)
    assert not torch.equal(again.latents.mean, again.latents.std)


def test_each_picture_and_each_prompt_has_the_embedding_that_the_pipeline_gives_it(cached, many, base):
    pipe = reference.load_pipeline(base)
    trained, held_out = reference.parted(reference.pictures(many), 0.2)
    for text, wanted in ((cached.text, trained), (cached.held_out_text, held_out)):
        captions = [picture.text for picture in wanted]
        assert len(text.index) == len(captions)
        for row, caption in zip(text.index, captions, strict=True):
            torch.testing.assert_close(text.embeddings[row], reference.encoded(pipe, caption)[0], rtol=1e-4, atol=1e-5)
    for row, prompt in zip(cached.previews.index, PROMPTS, strict=True):
        wanted = reference.encoded(pipe, prompt)[0]
        torch.testing.assert_close(cached.previews.embeddings[row], wanted, rtol=1e-4, atol=1e-5)
    for text in (cached.text, cached.held_out_text, cached.previews):
        torch.testing.assert_close(text.embeddings[0], reference.encoded(pipe, "")[0], rtol=1e-4, atol=1e-5)


def test_a_caption_is_embedded_once_however_often_it_is_there(cached, many):
    trained, _ = reference.parted(reference.pictures(many), 0.2)
    assert len(cached.text.embeddings) == len({picture.text for picture in trained} | {""})
    assert len(cached.previews.embeddings) == 4


def test_captions_cut_are_counted_for_each_picture(many, base, store, tmp_path):
    said: list[str] = []
    data = cache(many, base, store, tmp_path / "c", said)
    parts = reference.parted(reference.pictures(many), 0.2)
    counts = [sum(len(picture.text) > 200 for picture in part) for part in parts]
    assert sum(counts) == 3
    assert data.held_out_text
    assert [data.text.truncated, data.held_out_text.truncated] == counts
    assert said == [f"{counts[0]} of {len(parts[0])} captions are over 32 tokens and were cut"]


def test_pixels_reach_from_minus_one_to_one(store, tmp_path):
    import io

    from PIL import Image

    from tasks.finetune.training.data import pixels

    grey = np.arange(256, dtype=np.uint8).repeat(4).reshape(32, 32)
    out = io.BytesIO()
    Image.fromarray(np.stack([grey, 255 - grey, grey], axis=2)).save(out, "PNG")
    (row,) = read_rows(write_dataset(tmp_path / "d", [out.getvalue()]), store)
    found = pixels([row], 32)
    assert found.dtype == torch.float32
    wanted = torch.from_numpy((grey / 255.0) * 2 - 1).float()
    torch.testing.assert_close(found[0, 0], wanted)
    torch.testing.assert_close(found[0, 1], -wanted)
