"""A training's result file: read as it was written, also by a wikistyle that notes more."""

import json

import pytest

from tasks.common.records import Training
from tasks.common.settings import digest
from tasks.finetune.process.job import read_training, write_training

TRAINING = Training(
    base_model="b", base_revision=None, dataset_fingerprint="f", snapshots=(), losses=(), psnr_before=1.0,
    psnr_after=2.0, truncated_captions=0, images_trained=9, images_held_out=1, lpips_before=None, lpips_after=None,
    base_identity="sha256:0",
)  # fmt: skip


def test_a_result_is_read_as_it_was_written_and_a_changed_one_refused(tmp_path):
    write_training(tmp_path / "t.json", "key", TRAINING)
    assert read_training(tmp_path / "t.json") == ("key", TRAINING)
    (tmp_path / "t.json").write_text((tmp_path / "t.json").read_text().replace('"f"', '"g"'))
    with pytest.raises(ValueError, match="not those that were written"):
        read_training(tmp_path / "t.json")


def test_a_result_from_before_the_bases_identity_was_noted_is_still_good(tmp_path):
    """Else a finished training would be set aside as damaged after an upgrade."""
    old = TRAINING.model_dump(mode="json", exclude={"base_identity"})
    sealed = {"key": "key", "sha256": digest(["key", old]), "training": old}
    (tmp_path / "t.json").write_text(json.dumps(sealed))
    assert read_training(tmp_path / "t.json") == ("key", TRAINING.model_copy(update={"base_identity": None}))
