"""The rehearsal, with the tiny base in place of Stable Diffusion's: the same path in seconds."""

from pathlib import Path

import pytest

from tasks.finetune.memory.rehearsal import rehearse
from tests.finetune.tiny import settings_for
from tests.sample.tiny import save_base


@pytest.mark.slow
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
    assert dict(report.predicted_peaks).keys() >= {"unet step", "decoder step", "decoder judging", "sampling"}
    assert report.predicted_gpu_memory == max(size for _, size in report.predicted_peaks)
    assert any(line.startswith("disk: ") for line in said)
    assert list(Path(tmp_path).iterdir()) == []
