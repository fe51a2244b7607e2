"""A training against diffusers' own script written a second time: losses, gradients, weights, averages, rates."""

# diffusers types some calls too narrowly.
# pyright: reportCallIssue=false

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.loss import Draw, draw
from tasks.finetune.training.state import states_in
from tasks.finetune.training.steps import Step
from tests.finetune.tiny import run, settings_for
from tests.finetune.training import reference

# Ten trained pictures of the fourteen: three steps an epoch. The clip is far below the norm of any step.
PLAIN: dict[str, Any] = {"epochs": 2, "batch_size": 3, "max_grad_norm": 0.05, "decoder_epochs": 0, "ema_decay": 0.3}
OPTIONS = {
    "plain": {},
    "min-SNR, no clipping": {"min_snr_gamma": 5.0, "max_grad_norm": 1e6},
    "dropped captions, offset noise": {"caption_dropout": 0.5, "offset_noise": 0.3},
    "accumulation": {"batch_size": 1, "gradient_accumulation": 3},
    "warm-up and cosine": {"warmup_steps": 2, "lr_schedule": "cosine"},
    "other AdamW and seed, warm-up": {"weight_decay": 0.3, "adam_beta2": 0.9, "seed": 5, "warmup_steps": 3},
}


@pytest.fixture(scope="module")
def velocity_base(base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny base, of which the schedule says that it predicts velocity."""
    folder = tmp_path_factory.mktemp("velocity") / "base"
    shutil.copytree(base, folder)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "v_prediction"}))
    return str(folder)


def parts_of(folder: Path) -> dict[str, reference.Tensors]:
    """The resume state of a training by kind: `weight`, `ema`, `exp_avg`, …, each by parameter name."""
    parts: dict[str, reference.Tensors] = {}
    (unet,) = folder.glob("unet-*")
    for key, tensor in load_file(states_in(unet)[0]).items():
        kind, _, name = key.removesuffix("@channels_last").partition("/")
        turned = tensor.permute(0, 3, 1, 2) if key.endswith("@channels_last") else tensor
        parts.setdefault(kind, {})[name] = turned
    return parts


def compare(base: str, dataset: str, settings: FinetuneSettings, folder: Path, store: Any) -> reference.Reference:
    """Train both ways and hold them against each other."""
    told: list[Step] = []
    training = run(dataset, settings, folder, store, report=lambda _, step: told.append(step))
    wanted = reference.train(base, dataset, settings)
    assert [step.loss for step in told] == pytest.approx(wanted.losses, rel=1e-5)
    assert [step.learning_rate for step in told] == pytest.approx(wanted.rates)
    state = parts_of(folder)
    assert reference.apart(state["exp_avg"], wanted.exp_avg) < 1e-4  # the mean of the clipped gradients so far
    assert reference.apart(state["weight"], wanted.weights, wanted.start) < 5e-4
    if settings.ema_decay:
        assert reference.apart(state["ema"], wanted.ema, wanted.start) < 5e-4
    kept = load_file(store.path(training.snapshots[-1].unet.key))  # type: ignore[union-attr]
    held = wanted.ema if settings.ema_decay else wanted.weights
    assert all(weights.dtype == torch.float16 for weights in kept.values())
    assert (
        reference.apart(kept, {name: value.half() for name, value in held.items()}, wanted.start) < 3e-3
    )  # in half precision
    return wanted


@pytest.mark.parametrize("option", OPTIONS)
def test_a_training_is_what_diffusers_own_script_comes_to(option, dataset, base, store, tmp_path):
    settings = settings_for(base, **(PLAIN | OPTIONS[option]))
    wanted = compare(base, dataset, settings, tmp_path / "t", store)
    if "no clipping" not in option:
        assert min(wanted.norms) > 2 * settings.max_grad_norm


@pytest.mark.parametrize("gamma", [0.0, 5.0])
def test_a_base_of_velocity_trains_on_velocity(gamma, dataset, velocity_base, store, tmp_path):
    compare(velocity_base, dataset, settings_for(velocity_base, **PLAIN, min_snr_gamma=gamma), tmp_path / "t", store)


@pytest.mark.parametrize("gamma", [0.0, 5.0])
def test_the_held_out_loss_is_plain_at_five_fixed_timesteps_whatever_the_training_does(
    gamma, dataset, velocity_base, store, tmp_path
):
    """Of the base and of what was trained: neither weighted, nor with captions dropped, nor with offset noise."""
    options = {"min_snr_gamma": gamma, "caption_dropout": gamma / 5, "offset_noise": gamma / 5}
    settings = settings_for(velocity_base, **(PLAIN | {"epochs": 1, "held_out": 0.4} | options))
    training = run(dataset, settings, tmp_path / "t", store)
    pipe = reference.load_pipeline(velocity_base)
    _, held_out = reference.parted(reference.pictures(dataset), settings.held_out)
    assert len(held_out) == settings.batch_size + 1  # a whole batch and a partial one
    wanted = [mean_held_out(pipe, held_out, pipe.unet)]
    pipe.unet.load_state_dict(parts_of(tmp_path / "t")["ema"])
    wanted.append(mean_held_out(pipe, held_out, pipe.unet))
    assert [s.heldout_loss for s in training.snapshots] == pytest.approx(wanted, rel=1e-5)
    assert abs(wanted[0] - wanted[1]) > 1e-4 * wanted[0]


@torch.no_grad()
def mean_held_out(pipe: Any, held_out: list[reference.Picture], unet: Any) -> float:
    shape, plain = torch.Size((4, 8, 8)), FinetuneSettings()
    losses = []
    for picture in held_out:
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            chance = draw(0, -1, f"{picture.id}/{share}", shape, plain, 1000)
            fixed = Draw(chance.posterior_noise, chance.noise, round(share * 1000), False)
            losses.append(reference.step_loss(pipe, unet.eval(), [picture], [fixed]).item())
    return sum(losses) / len(losses)


def test_an_adapter_gets_the_gradient_of_the_weight_it_adds_to(dataset, base, store, tmp_path):
    """Up starts at zero: after one step its gradient is that of the whole weight times down; down has none yet."""
    settings = settings_for(base, **(PLAIN | {"epochs": 1, "batch_size": 9, "max_grad_norm": 1e6, "lora_rank": 2}))
    training = run(dataset, settings, tmp_path / "t", store)
    whole = reference.train(base, dataset, settings, steps=1)
    state = parts_of(tmp_path / "t")
    ups = [name for name in state["weight"] if name.endswith(".up")]
    assert len(ups) == len(state["weight"]) // 2
    merged = load_file(store.path(training.snapshots[-1].unet.key))  # type: ignore[union-attr]
    for up in ups:
        down = up.removesuffix("up") + "down"
        weight = up.replace("parametrizations.weight.0.up", "weight")
        wanted = whole.exp_avg[weight] @ state["weight"][down].T
        torch.testing.assert_close(state["exp_avg"][up], wanted, rtol=1e-3, atol=1e-8)
        assert not state["exp_avg"][down].any()
        by_hand = whole.start[weight] + state["ema"][up] @ state["ema"][down]
        torch.testing.assert_close(merged[weight], by_hand.half())
        assert not torch.equal(merged[weight], whole.start[weight].half())
