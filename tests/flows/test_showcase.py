"""Pictures, films and the run's folder are of the base the training started from, whatever the settings name now."""

import shutil

import pytest

from flows.common.base_model import base_of, note_origin
from flows.common.preflight import CheckError, check
from flows.common.report import Finetuned
from flows.common.run_folder import write_run
from flows.common.settings import Settings, load_profile
from flows.showcase import showcase
from tasks.common.errors import ModelError
from tasks.common.model_id import model_identity
from tasks.common.records import Training
from tasks.common.store import Store
from tests.sample.conftest import base
from tests.sample.tiny import snapshot

__all__ = ["base"]


def settings(name: str) -> Settings:
    small = ['sample.prompts=["a cat"]', "sample.seeds=[0]", "sample.num_inference_steps=2"]
    return load_profile("sample", [f"finetune.base_model={name}", *small])


def training_from(base: str, identity: str | None) -> Training:
    """One epoch that trained nothing."""
    return Training(
        base_model=base, base_revision=None, base_identity=identity, dataset_fingerprint="f",
        snapshots=(snapshot(Store(), 0),), losses=(), psnr_before=None, psnr_after=None, truncated_captions=0,
        images_trained=1, images_held_out=0,
    )  # fmt: skip


@pytest.mark.parametrize("noted", [True, False])
def test_a_training_is_shown_and_written_with_its_own_base(noted, base, prefect, tmp_path):
    """Also one that was kept before trainings noted which weights their base had."""
    trained = training_from(base, model_identity(base, None) if noted else None)
    showcased = showcase(settings("nobody/nothing"), trained)
    assert len(showcased.samples) == 1
    done = Finetuned(training=trained, stages=())
    write_run(tmp_path / "run", settings("nobody/nothing"), None, done, showcased, Store())
    assert (tmp_path / "run" / "model" / "unet" / "diffusion_pytorch_model.safetensors").exists()
    page = (tmp_path / "run" / "gallery" / "index.html").read_text()
    assert base in page


def test_a_base_that_changed_since_is_refused_in_one_line(base, tmp_path, monkeypatch):
    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path / "store"))
    there = tmp_path / "base"
    shutil.copytree(base, there)
    trained = training_from(str(there), model_identity(str(there), None))
    assert base_of(trained).identity == trained.base_identity
    (there / "unet" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"base isn't what the training started from .*; put that one there") as error:
        base_of(trained)
    assert "\n" not in str(error.value)
    shutil.rmtree(there)
    with pytest.raises(ModelError, match=r"base isn't what the training started from"):
        base_of(trained)


def test_a_base_that_moved_is_found_where_the_settings_name_it(base, tmp_path, monkeypatch):
    """Fine-tune hands on the training it made once; where its base lies is said anew each time."""
    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path / "store"))
    identity = model_identity(base, None)
    moved = note_origin(training_from("/gone", None), settings(base), identity)
    assert (moved.base_model, moved.base_identity) == (base, identity)
    assert base_of(moved).model == base


def test_before_showcase_alone_the_trainings_base_is_looked_for(base, tmp_path, monkeypatch):
    from flows.common import handoff

    monkeypatch.setenv("WIKISTYLE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WIKISTYLE_HOME", str(tmp_path / "home"))
    for part in ("collect", "finetune"):
        handoff.keep("sample", part, Finetuned(training=training_from(base, None), stages=()))
    check(settings("nobody/nothing"), ("showcase",))
    handoff.keep("sample", "finetune", Finetuned(training=training_from("/gone", None), stages=()))
    with pytest.raises(CheckError, match=r"model /gone \(of the training\) can't be loaded"):
        check(settings(base), ("showcase",))
