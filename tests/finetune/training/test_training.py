"""Whole trainings of a tiny model: they learn, repeat to the byte, and leave what was promised."""

import shutil
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file

from tasks.common.errors import ModelError
from tasks.common.records import EpochLoss
from tasks.diffusion.assemble import assemble
from tasks.finetune.errors import FinetuneError, LossError
from tasks.finetune.result import turning_point
from tasks.finetune.training.state import load_state
from tests.finetune.tiny import png, run, settings_for, states_of, write_able_base, write_dataset

EVERY_OPTION = {
    "caption_dropout": 0.3,
    "min_snr_gamma": 5.0,
    "offset_noise": 0.1,
    "gradient_accumulation": 2,
    "lr_schedule": "cosine",
    "warmup_steps": 2,
    "mixed_precision": "bf16",
    "gradient_checkpointing": True,
}


@pytest.fixture
def trained(dataset, base, store, tmp_path):
    return run(dataset, settings_for(base), tmp_path / "training", store)


def test_the_same_job_gives_the_same_bytes(trained, dataset, base, store, tmp_path):
    again = run(dataset, settings_for(base), tmp_path / "elsewhere", store)
    assert again == trained
    assert [s.unet.key for s in again.snapshots if s.unet] == [s.unet.key for s in trained.snapshots if s.unet]


@pytest.mark.parametrize("name", EVERY_OPTION)
def test_each_option_trains_and_changes_what_comes_out(name, trained, dataset, base, store, tmp_path):
    other = run(dataset, settings_for(base, **{name: EVERY_OPTION[name]}), tmp_path / "other", store)
    assert other.losses[-1].train_loss == pytest.approx(trained.losses[-1].train_loss, rel=0.5)
    if name == "gradient_checkpointing":
        assert other.losses[-1].train_loss == pytest.approx(trained.losses[-1].train_loss, rel=1e-5)
    else:
        assert other.snapshots[-1].unet != trained.snapshots[-1].unet


def test_accumulated_steps_are_one_step_of_the_larger_batch(dataset, base, store, tmp_path):
    whole = run(dataset, settings_for(base, batch_size=4, decoder_epochs=0), tmp_path / "a", store)
    parts = settings_for(base, batch_size=2, gradient_accumulation=2, decoder_epochs=0)
    summed = run(dataset, parts, tmp_path / "b", store)
    for one, two in zip(whole.losses[1:], summed.losses[1:], strict=True):
        assert one.train_loss == pytest.approx(two.train_loss, rel=1e-5)


def test_snapshots_are_of_the_epochs_asked_for_with_losses_and_psnr(trained):
    assert [s.epoch for s in trained.snapshots] == [0, 2, 4]
    assert [s.weights for s in trained.snapshots] == ["base", "ema", "ema"]
    assert trained.snapshots[0].unet is None
    assert all(s.heldout_loss and s.decoder_psnr for s in trained.snapshots)
    assert trained.images_trained + trained.images_held_out == 14


def test_the_last_epoch_is_a_snapshot_even_off_the_beat(dataset, base, store, tmp_path):
    training = run(dataset, settings_for(base, epochs=3, decoder_epochs=0), tmp_path / "t", store)
    assert [s.epoch for s in training.snapshots] == [0, 2, 3]


def test_a_snapshot_loads_as_a_pipeline_that_draws(trained, base, store, tmp_path):
    assemble(base, None, trained.snapshots[-1], tmp_path / "model", store)
    pipe: Any = StableDiffusionPipeline.from_pretrained(tmp_path / "model", safety_checker=None, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    weights = load_file(store.path(trained.snapshots[-1].unet.key))
    assert all(torch.equal(weights[name], p.half()) for name, p in pipe.unet.state_dict().items())
    assert pipe("a cat", num_inference_steps=2, height=32, width=32).images[0].size == (32, 32)


def test_the_decoder_stage_leaves_the_encoder_bit_identical(trained, base, store, tmp_path):
    assemble(base, None, trained.snapshots[-1], tmp_path / "model", store)
    before = AutoencoderKL.from_pretrained(base, subfolder="vae").state_dict()
    after = AutoencoderKL.from_pretrained(tmp_path / "model", subfolder="vae").state_dict()
    for name, value in before.items():
        if not name.startswith(("decoder.", "post_quant_conv.")):
            assert torch.equal(value.half(), after[name].half()), name
    assert not torch.equal(before["decoder.conv_out.weight"].half(), after["decoder.conv_out.weight"].half())


def test_a_snapshot_of_another_base_model_is_refused(trained, base, store, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(base, other)
    unet = UNet2DConditionModel.from_pretrained(other, subfolder="unet")
    torch.nn.init.zeros_(unet.conv_out.weight)
    unet.save_pretrained(other / "unet")
    with pytest.raises(ModelError, match="was trained from base model") as error:
        assemble(str(other), None, trained.snapshots[-1], tmp_path / "model", store)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


def test_overfitting_four_pictures_drives_the_loss_down_ten_times(base, store, tmp_path):
    settings = settings_for(
        write_able_base(base, tmp_path / "base"), epochs=500, snapshot_every=500, batch_size=4, learning_rate=4e-3,
        lr_schedule="cosine", adam_beta2=0.99, ema_decay=0.0, held_out=0.0, decoder_epochs=0, checkpoint_steps=1000,
    )  # fmt: skip
    dataset = write_dataset(tmp_path / "four", [png(i) for i in range(4)])
    losses = [e.train_loss or 0 for e in run(dataset, settings, tmp_path / "t", store).losses[1:]]
    assert sum(losses[-100:]) / 100 < losses[0] / 10


def test_the_decoder_gains_on_pictures_it_never_saw(base, store, tmp_path):
    settings = settings_for(
        write_able_base(base, tmp_path / "base"), epochs=1, decoder_epochs=12, decoder_learning_rate=2e-3
    )
    dataset = write_dataset(tmp_path / "many", [png(i) for i in range(60)])
    training = run(dataset, settings, tmp_path / "t", store)
    assert training.psnr_after
    assert training.psnr_before
    assert training.psnr_after > training.psnr_before + 2


def test_adapters_train_alone_and_their_snapshots_load_as_any_other(dataset, base, store, tmp_path):
    training = run(dataset, settings_for(base, lora_rank=2, decoder_epochs=0), tmp_path / "t", store)
    assemble(base, None, training.snapshots[-1], tmp_path / "model", store)
    before = UNet2DConditionModel.from_pretrained(base, subfolder="unet").state_dict()
    after = UNet2DConditionModel.from_pretrained(tmp_path / "model", subfolder="unet").state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value.half(), after[name].half())}
    adapted = {n for n in before if n.endswith(("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight"))}
    assert changed == adapted
    assert training.snapshots[0].heldout_loss != training.snapshots[-1].heldout_loss
    assert states_of("unet", tmp_path / "t")[0].stat().st_size < 4 * sum(v.numel() for v in before.values()) / 2


def test_previews_are_drawn_and_change_nothing(trained, dataset, base, store, tmp_path):
    settings = settings_for(base, validation_prompts=("a cat", "a house"))
    assert run(dataset, settings, tmp_path / "t", store) == trained
    names = sorted(path.name for path in (tmp_path / "t").glob("unet-*/previews-*/*"))
    assert names == [f"epoch-000{epoch}-prompt-{i}.png" for epoch in (0, 2, 4) for i in (0, 1)]


def test_tensorboard_shows_losses_and_held_out_losses(trained, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    unet, decoder = (
        EventAccumulator(str(folder))
        for part in ("unet", "decoder")
        for folder in (tmp_path / "training").glob(f"{part}-*/tensorboard")
    )
    unet.Reload()
    assert unet.Scalars("unet/loss")[-1].step == trained.snapshots[-1].step
    assert unet.Scalars("unet/heldout_loss")[-1].value == pytest.approx(trained.snapshots[-1].heldout_loss)
    decoder.Reload()
    assert decoder.Scalars("decoder/psnr")


def test_a_loss_that_is_not_finite_stops_it_and_names_step_and_pictures(dataset, base, store, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    unet: Any = UNet2DConditionModel.from_pretrained(tmp_path / "base", subfolder="unet")
    torch.nn.init.constant_(unet.conv_out.bias, float("nan"))
    unet.save_pretrained(tmp_path / "base" / "unet")
    with pytest.raises(LossError, match=r"loss is nan at step 0, pictures \w{12} at timestep \d+, ") as error:
        run(dataset, settings_for(str(tmp_path / "base")), tmp_path / "t", store)
    assert "\n" not in str(error.value)
    assert not states_of("unet", tmp_path / "t")


def test_a_decoder_loss_that_is_not_finite_stops_it_too(dataset, base, store, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    vae: Any = AutoencoderKL.from_pretrained(tmp_path / "base" / "vae")
    torch.nn.init.constant_(vae.decoder.conv_out.bias, float("nan"))
    vae.save_pretrained(tmp_path / "base" / "vae")
    with pytest.raises(LossError, match=r"decoder loss is nan at step 0, pictures \w{12}, ") as error:
        run(dataset, settings_for(str(tmp_path / "base"), epochs=1), tmp_path / "t", store)
    assert "\n" not in str(error.value)
    assert not states_of("decoder", tmp_path / "t")


def test_a_state_of_another_model_is_refused_in_one_line(trained, tmp_path):
    other = {"conv_in.weight": torch.nn.Parameter(torch.zeros(1, 2, 3))}
    with pytest.raises(FinetuneError, match="does not fit the model") as error:
        load_state(states_of("unet", tmp_path / "training")[0], other, torch.optim.AdamW(other.values()), None)
    assert "\n" not in str(error.value)


def test_the_epoch_where_the_held_out_loss_turns_is_found(trained):
    def with_held(*values: float) -> object:
        losses = tuple(EpochLoss(epoch=i, train_loss=None, heldout_loss=v) for i, v in enumerate(values))
        return turning_point(trained.model_copy(update={"losses": losses}))

    assert with_held(3, 2, 1, 2) == 2
    assert with_held(3, 2, 1) is None
    assert with_held() is None
