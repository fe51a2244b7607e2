"""The precision follows the card; fp16 trains with a scaled loss, and resumes to the bit whatever steps it left out."""

import contextlib
import hashlib
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from tasks.finetune.errors import Interrupted, LossError, ResourceError
from tasks.finetune.training.decoder import decoder_loss
from tasks.finetune.training.precision import Card, precision_for
from tests.finetune.tiny import finished, progress_in, run, settings_for, states_of

T4, V100 = Card("Tesla T4", False, 15 << 30), Card("Tesla V100-SXM2-32GB", False, 32 << 30)
A100 = Card("NVIDIA A100-SXM4-40GB", True, 40 << 30)


@pytest.mark.parametrize(
    ("wanted", "card", "expected"),
    [
        ("auto", None, "no"), ("auto", A100, "bf16"), ("auto", T4, "fp16"), ("auto", V100, "fp16"),
        ("bf16", None, "bf16"), ("bf16", A100, "bf16"), ("no", A100, "no"), ("no", T4, "no"),
    ],
)  # fmt: skip
def test_the_precision_follows_settings_and_card(wanted, card, expected):
    assert precision_for(settings_for("base", mixed_precision=wanted), card) == expected


def test_bf16_on_a_card_without_it_is_refused_before_anything_is_read(dataset, base, store, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.finetune.memory.preflight.find_card", lambda: T4)
    with pytest.raises(ResourceError, match=r"bf16, which Tesla T4 can't compute; set it to auto") as error:
        run(dataset, settings_for(base, mixed_precision="bf16"), tmp_path / "t", store)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "t").exists()


@pytest.fixture
def scaled(monkeypatch):
    """accelerate's own fp16 path on a CPU, where it declines to start it. The scale to begin with can be set."""
    begin = SimpleNamespace(scale=2.0**16)

    def accelerator(settings: object) -> Accelerator:
        made = Accelerator(mixed_precision="no")
        AcceleratorState._shared_state["_mixed_precision"] = "fp16"
        made.native_amp = True
        made.scaler = torch.amp.GradScaler("cpu", init_scale=begin.scale, growth_interval=5)
        return made

    monkeypatch.setattr("tasks.finetune.training.train._accelerator", accelerator)
    yield begin
    AcceleratorState._reset_state(reset_partial_state=True)


def test_fp16_trains_as_fp32_does(scaled, dataset, base, store, tmp_path):
    half = run(dataset, settings_for(base), tmp_path / "half", store)
    progress = progress_in(tmp_path / "half")
    assert progress.scaler
    assert progress.scaler["scale"] >= 1
    assert progress.skipped < progress.step / 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.finetune.training.train._accelerator", lambda settings: Accelerator(mixed_precision="no"))
        whole = run(dataset, settings_for(base), tmp_path / "whole", store)
    assert half.losses != whole.losses
    assert half.losses[-1].train_loss == pytest.approx(whole.losses[-1].train_loss, rel=0.02)


def test_steps_left_out_are_counted_and_a_resumed_training_ends_in_the_same_bits(
    scaled, dataset, base, store, tmp_path
):
    """The scale begins far too large, so the first steps overflow; then it grows every five steps until it does so."""
    scaled.scale = 2.0**26
    settings = settings_for(base, epochs=6, snapshot_every=6, decoder_epochs=0, checkpoint_steps=1)
    run(dataset, settings, tmp_path / "whole", store)
    progress = progress_in(tmp_path / "whole")
    assert progress.scaler
    assert 1 < progress.skipped < progress.step
    assert progress.scaler["scale"] < scaled.scale
    while not finished(tmp_path / "stopped"):
        with contextlib.suppress(Interrupted):
            run(dataset, settings, tmp_path / "stopped", store, stopping=lambda: True)
    states = [states_of("unet", tmp_path / name)[0].read_bytes() for name in ("whole", "stopped")]
    assert hashlib.sha256(states[0]).digest() == hashlib.sha256(states[1]).digest()


def test_gradients_that_overflow_at_any_scale_stop_it(scaled, dataset, base, store, tmp_path, monkeypatch):
    scaled.scale = 4.0
    scales = []

    def halve(self: Accelerator, parameters: object, most: float) -> torch.Tensor:
        self.scaler.update(self.scaler.get_scale() / 2)  # type: ignore[union-attr]
        scales.append(self.scaler.get_scale())  # type: ignore[union-attr]
        return torch.tensor(float("inf"))

    monkeypatch.setattr("accelerate.Accelerator.clip_grad_norm_", halve)
    monkeypatch.setattr("accelerate.optimizer.AcceleratedOptimizer.step", lambda self: None)
    with pytest.raises(LossError, match="gradient is inf at step 1"):
        run(dataset, settings_for(base), tmp_path / "t", store)
    assert scales == [2.0, 1.0]


def test_the_decoder_never_computes_in_fp16():
    seen = []
    config = SimpleNamespace(scaling_factor=1.0)
    layer = torch.nn.Linear(4, 4)

    def decode(z: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        seen.append(layer(z).dtype)
        return (layer(z),)

    vae = SimpleNamespace(config=config, decode=decode)
    for precision, kind in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        cast = SimpleNamespace(mixed_precision=precision, autocast=lambda kind=kind: torch.autocast("cpu", kind))
        assert decoder_loss(vae, torch.ones(1, 4), torch.zeros(1, 4), cast).dtype == torch.float32  # type: ignore[arg-type]
    assert seen == [torch.float32, torch.bfloat16]
