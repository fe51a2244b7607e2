"""The tasks' cache keys, and that each does its work."""

from typing import Any

from tasks.animate.gallery import build_gallery
from tasks.animate.page import GalleryPage
from tasks.animate.settings import AnimateSettings
from tasks.animate.task import animate_denoising, animate_training
from tasks.common.records import Animation

SETTINGS = AnimateSettings(tile=64, sheet_tile=32)


def key(task: Any, **inputs: Any) -> str:
    return task.task.cache_policy.compute_key(None, inputs, {})


def test_a_film_is_made_again_only_for_other_pictures_or_settings(draw):
    samples = [draw("a cat", 0, epoch) for epoch in (0, 2)]
    same = key(animate_training, prompt="a cat", samples=samples, between=[], settings=SETTINGS)
    assert key(animate_training, prompt="a cat", samples=tuple(samples), between=[], settings=SETTINGS) == same
    assert key(animate_training, prompt="a cat", samples=samples[:1], between=[], settings=SETTINGS) != same
    slower = SETTINGS.model_copy(update={"frame_ms": 800})
    assert key(animate_training, prompt="a cat", samples=samples, between=[], settings=slower) != same
    keys = [sample.key for sample in samples]
    films = key(animate_denoising, prompt="a cat", keys=keys, settings=SETTINGS)
    assert key(animate_denoising, prompt="a cat", keys=keys[::-1], settings=SETTINGS) != films


def test_from_pictures_to_a_page(store, draw):
    samples = [draw("a cat", seed, epoch) for epoch in (0, 2) for seed in (0, 1)]
    drift = animate_training.task.fn("a cat", samples, [], SETTINGS)
    film = animate_denoising.task.fn("a cat", [sample.key for sample in samples], SETTINGS)
    assert [file.path for file in drift.files] == [
        "training/a-cat.gif",
        "training/a-cat.avif",
        "training/a-cat.mp4",
        "training/a-cat.png",
    ]
    assert all(store.has(file.key) for file in (*drift.files, *film.files))
    assert Animation.model_validate_json(drift.model_dump_json()) == drift
    page = GalleryPage(
        title="T",
        wiki_name="W",
        wiki_url="",
        base_model="B",
        films=(drift, film),
        samples=tuple(samples),
        images_trained=4,
    )
    assert build_gallery(page, store).startswith(b"<!doctype html>")
