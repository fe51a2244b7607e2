"""The measure tasks: what makes them work again and what doesn't, and the same bytes each time."""

from typing import Any

import numpy as np
import pytest
import torch
from prefect import flow

from tasks.common.model_id import model_identity
from tasks.common.records import Snapshot
from tasks.common.store import Store
from tasks.measure.records import Reference
from tasks.measure.reference import make_reference, tensors_of
from tasks.measure.settings import MeasureSettings
from tasks.measure.task import BaseModel, draw_point, measure_wiki
from tests.measure.pictures import CLIP, dataset_of, wiki_drawings
from tests.sample.tiny import snapshot

SETTINGS = MeasureSettings(
    clip_model=str(CLIP), clip_revision=None, num_inference_steps=2, subjects=8, guidance_scale=2
)


@pytest.fixture
def trained(store) -> Snapshot:
    return snapshot(store, 2, unet={"w": torch.ones(1)})


def key(task: Any, settings: Any = SETTINGS, **inputs: Any) -> str:
    return task.task.cache_policy.compute_key(None, inputs | {"settings": settings}, {})


def changed(**values: Any) -> MeasureSettings:
    return SETTINGS.model_copy(update=values)


REFERENCE = Reference(
    key="k", subjects=("s",), captions=("a cat",), trained=(), copy_likeness=0.9, copy_null=0.0
)  # fmt: skip


def test_a_point_is_drawn_again_only_for_what_it_draws(trained):
    inputs: dict[str, Any] = {
        "base": BaseModel(model="here", revision=None, identity="b"), "snapshot": trained, "strength": 1.0,
        "reference": REFERENCE,
    }  # fmt: skip
    same = key(draw_point, **inputs)
    for change in (
        {"base": BaseModel(model="there", revision="r", identity="b")},
        {"snapshot": trained.model_copy(update={"heldout_loss": 9.0, "probe_loss": 1.0})},
        {"reference": REFERENCE.model_copy(update={"copy_likeness": 0.8})},
        {"settings": changed(batch_size=1, strengths=(0.5,), composition_kept=0.1, release_epoch=2)},
    ):
        assert key(draw_point, **({"settings": SETTINGS} | inputs | change)) == same
    for change in (
        {"base": BaseModel(model="here", revision=None, identity="other")},
        {"snapshot": trained.model_copy(update={"unet": None})},
        {"strength": 0.5},
        {"reference": REFERENCE.model_copy(update={"captions": ("a dog",)})},
        {"settings": changed(seeds=(1,))},
        {"settings": changed(num_inference_steps=3)},
    ):
        assert key(draw_point, **({"settings": SETTINGS} | inputs | change)) != same


def test_the_wiki_is_measured_again_for_its_rows_alone(store):
    dataset = dataset_of(wiki_drawings()[:9], store)
    same = key(measure_wiki, dataset=dataset, held_out=0.2)
    published = dataset.model_copy(update={"repo_id": "ada/wiki", "revision": "r"})
    assert key(measure_wiki, dataset=published, held_out=0.2) == same
    assert key(measure_wiki, changed(num_inference_steps=9), dataset=dataset, held_out=0.2) == same
    assert key(measure_wiki, dataset=dataset, held_out=0.3) != same
    assert key(measure_wiki, changed(prompts="titles"), dataset=dataset, held_out=0.2) != same
    assert key(measure_wiki, dataset=dataset.model_copy(update={"fingerprint": "f"}), held_out=0.2) != same


def test_the_second_time_nothing_is_drawn_and_anew_it_is_the_same_bytes(base, clip, store, prefect, tmp_path):
    dataset = dataset_of(wiki_drawings()[:60], store)
    where = BaseModel(model=base, revision=None, identity=model_identity(base, None))
    nothing_trained = snapshot(store, 2)

    @flow
    def twice() -> list[Any]:
        outcomes = []
        for _ in range(2):
            wiki = measure_wiki(dataset, 0.4, SETTINGS)
            assert wiki.result
            outcomes += [wiki, draw_point(where, nothing_trained, 0.5, wiki.result, SETTINGS)]
        return outcomes

    wiki, drawn, again, same = twice()
    assert [one.cached for one in (wiki, drawn, again, same)] == [False, False, True, True]
    assert (again.result, same.result) == (wiki.result, drawn.result)
    elsewhere = Store(str(tmp_path / "elsewhere"))
    anew = make_reference(dataset_of(wiki_drawings()[:60], elsewhere), 0.4, SETTINGS, clip, elsewhere)
    assert anew == wiki.result
    shapes = {name: array.shape for name, array in tensors_of(drawn.result.key, store).items()}
    assert shapes == {
        "embeddings": (8, 1, 128), "thumbnails": (8, 1, 256), "likeness": (8, 1), "nearest": (8, 1)
    }  # fmt: skip
    assert np.allclose(np.linalg.norm(tensors_of(drawn.result.key, store)["embeddings"], axis=2), 1, atol=1e-5)


def test_a_subjects_picture_does_not_depend_on_the_others(base, clip, store):
    """Nor on the batch: one subject more, and those that were there draw the same."""
    from tasks.diffusion.pipeline import load_base
    from tasks.measure.drawing import draw_set

    loaded = load_base(base, None, "cpu", torch.float32)
    reference = make_reference(dataset_of(wiki_drawings()[:60], store), 0.4, SETTINGS, clip, store)
    assert reference
    fewer = reference.model_copy(update={"subjects": reference.subjects[3:], "captions": reference.captions[3:]})
    settings = changed(batch_size=3)
    whole, part = (
        tensors_of(draw_set(loaded.pipe, (2, 1.0), one, settings, clip, store).key, store)["embeddings"]
        for one in (reference, fewer)
    )
    assert np.allclose(whole[3:], part, atol=1e-4)


def test_a_clip_that_cannot_be_loaded_is_said_in_one_line(tmp_path):
    from tasks.common.errors import ModelError
    from tasks.measure.clip import load_clip

    with pytest.raises(ModelError, match=r"^measure.clip_model .*nowhere can't be loaded") as error:
        load_clip(str(tmp_path / "nowhere"), "r", "cpu")
    assert "\n" not in str(error.value)
