"""The cache keys of the two tasks: what makes them draw again and what doesn't."""

from typing import Any

import pytest

from tasks.common.records import Snapshot
from tasks.sample.settings import SampleSettings
from tasks.sample.task import sample_denoising, sample_snapshot
from tests.sample.tiny import snapshot

SETTINGS = SampleSettings(prompts=("a cat", "a dog"))


@pytest.fixture
def trained(store) -> Snapshot:
    import torch

    return snapshot(store, 2, unet={"w": torch.ones(1)})


def key(task: Any, trained: Snapshot, settings: SampleSettings = SETTINGS, **changed: Any) -> str:
    inputs = {"base_model": "here", "base_identity": "b", "snapshot": trained, "settings": settings}
    return task.task.cache_policy.compute_key(None, inputs | changed, {})


@pytest.mark.parametrize("task", [sample_snapshot, sample_denoising])
def test_a_key_is_content_only(task, trained):
    same = key(task, trained)
    assert key(task, trained, base_model="there", base_revision="r") == same
    assert key(task, trained.model_copy(update={"train_loss": 9.0, "heldout_loss": None})) == same
    assert key(task, trained, SETTINGS.model_copy(update={"batch_size": 1})) == same
    assert key(task, trained, base_identity="other") != same
    assert key(task, trained.model_copy(update={"unet": None})) != same
    assert key(task, trained, SETTINGS.model_copy(update={"seeds": (9,)})) != same


def test_each_task_draws_again_only_for_what_it_draws(trained):
    filmed_otherwise = SETTINGS.model_copy(update={"denoising_every": 5, "denoising_prompt": "a dog"})
    assert key(sample_snapshot, trained, filmed_otherwise) == key(sample_snapshot, trained)
    assert key(sample_denoising, trained, filmed_otherwise) != key(sample_denoising, trained)
    one_more_prompt = SETTINGS.model_copy(update={"prompts": ("a cat", "a dog", "a cow")})
    assert key(sample_denoising, trained, one_more_prompt) == key(sample_denoising, trained)
    assert key(sample_snapshot, trained, one_more_prompt) != key(sample_snapshot, trained)
    assert key(sample_snapshot, trained) != key(sample_denoising, trained)


def test_pictures_come_from_the_cache_with_nothing_loaded_the_second_time(base, store, prefect):
    """On a real Prefect server: a second call, with losses changed, is a hit, even when the base model is gone."""
    from prefect import flow

    from tasks.diffusion.pipeline import shared_pipeline

    settings = SampleSettings(prompts=("a cat",), seeds=(0, 1), num_inference_steps=2)
    snap = snapshot(store, 0)

    @flow
    def draw(where: str, snap: Snapshot) -> list[tuple[bool, Any]]:
        outcomes = [task(where, "b", snap, settings) for task in (sample_snapshot, sample_denoising)]
        return [(outcome.cached, outcome.result) for outcome in outcomes]

    first = draw(base, snap)
    shared_pipeline.cache_clear()
    second = draw("/gone", snap.model_copy(update={"train_loss": 3.0}))
    assert [cached for cached, _ in first] == [False, False]
    assert [cached for cached, _ in second] == [True, True]
    assert [result for _, result in first] == [result for _, result in second]
    pictures, film = first[0][1], first[1][1]
    assert [sample.seed for sample in pictures] == [0, 1]
    assert len(film) == 2
