"""The rehearsal, with the tiny base in place of Stable Diffusion's: the same path in seconds."""

from pathlib import Path

from tasks.finetune.base import load_config
from tasks.finetune.memory import activations
from tasks.finetune.rehearse import rehearse
from tests.finetune.tiny import settings_for
from tests.sample.tiny import save_base


def test_a_rehearsal_trains_saves_loads_samples_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = []
    report = rehearse(settings_for("no-base-is-read"), compare=True, log=said.append, write_base=save_base)
    assert len(report.losses) == 4
    assert all(0 < loss < 10 for loss in report.losses)
    assert report.parameters == report.trained_parameters
    assert report.snapshot_bytes > 2 * report.parameters
    assert report.seconds_per_step > 0
    assert report.encoding_in_the_loop
    assert report.fits_a_24_gb_gpu
    assert "a 24 GB GPU would do" in str(report)
    assert any(line.startswith("disk: ") for line in said)
    assert list(Path(tmp_path).iterdir()) == []


def test_activations_grow_with_the_picture_and_checkpointing_keeps_fewer(base):
    unet = load_config("unet", base, None)
    plain = activations(unet, settings_for(base), 8, 32)
    larger = activations(unet, settings_for(base), 16, 32)
    fewer = activations(unet, settings_for(base, gradient_checkpointing=True), 8, 32)
    assert 3 < larger.per_picture / plain.per_picture < 5
    assert fewer.per_picture < 0.7 * plain.per_picture
