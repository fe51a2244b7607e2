"""Options that change how the work is done: compiled, recomputed, in 8 bits; and a base that predicts velocity."""

# diffusers types its configurations as their defaults.
# pyright: reportArgumentType=false, reportCallIssue=false

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from diffusers import UNet2DConditionModel

from tasks.finetune.errors import Interrupted
from tests.finetune.tiny import finished, run, settings_for, states_of


@pytest.mark.slow
def test_two_compiled_steps_have_the_losses_of_two_plain_ones(dataset, base, store, tmp_path, monkeypatch):
    compiled = []
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, *a: (compiled.append(1), compile_module(self, *a)))
    small = str(tmp_path / "base")  # compiled in half the time
    shutil.copytree(base, small)
    UNet2DConditionModel(
        sample_size=8, block_out_channels=(4,), layers_per_block=1, down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",), cross_attention_dim=16, attention_head_dim=4, norm_num_groups=2,
    ).save_pretrained(tmp_path / "base" / "unet")  # fmt: skip
    plain = {"epochs": 2, "batch_size": 14, "held_out": 0.0, "decoder_epochs": 0, "snapshot_every": 2}
    one = run(dataset, settings_for(small, **plain), tmp_path / "plain", store)
    two = run(dataset, settings_for(small, torch_compile=True, **plain), tmp_path / "compiled", store)
    assert len(compiled) == 1
    for a, b in zip(one.losses[1:], two.losses[1:], strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-4)


def test_gradient_checkpointing_recomputes(dataset, base, store, tmp_path, monkeypatch):
    """That its losses are the same as without is proved in test_training.py."""
    calls = []
    checkpoint: Callable[..., Any] = torch.utils.checkpoint.checkpoint
    monkeypatch.setattr("torch.utils.checkpoint.checkpoint", lambda *a, **k: (calls.append(1), checkpoint(*a, **k))[1])
    plain = {"epochs": 1, "batch_size": 14, "held_out": 0.0, "decoder_epochs": 0}
    run(dataset, settings_for(base, **plain), tmp_path / "plain", store)
    assert not calls
    run(dataset, settings_for(base, gradient_checkpointing=True, **plain), tmp_path / "t", store)
    assert calls


def test_moments_in_8_bits_train_and_resume_to_the_same_bits(dataset, base, store, tmp_path):
    pytest.importorskip("bitsandbytes", reason="not a dependency; adamw8bit alone needs it")
    settings = settings_for(base, optimizer="adamw8bit", epochs=2, decoder_epochs=0)
    whole = run(dataset, settings, tmp_path / "whole", store)
    plain = run(dataset, settings.model_copy(update={"optimizer": "adamw"}), tmp_path / "plain", store)
    assert whole.losses[-1].train_loss == pytest.approx(plain.losses[-1].train_loss, rel=0.05)
    assert whole.snapshots[-1].unet != plain.snapshots[-1].unet
    while not finished(tmp_path / "stopped"):
        try:
            run(dataset, settings, tmp_path / "stopped", store, stopping=lambda: True)
        except Interrupted:
            continue
    states = [states_of("unet", tmp_path / folder)[0].read_bytes() for folder in ("whole", "stopped")]
    assert states[0] == states[1]


@pytest.mark.slow
def test_a_base_that_predicts_velocity_learns_it(dataset, base, store, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    path = tmp_path / "base" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "v_prediction"}))
    settings = settings_for(
        str(tmp_path / "base"), epochs=30, snapshot_every=30, learning_rate=3e-3, ema_decay=0, decoder_epochs=0
    )
    training = run(dataset, settings, tmp_path / "t", store)
    before, after = training.losses[0].heldout_loss, training.losses[-1].heldout_loss
    assert before
    assert after
    assert after < 0.8 * before
