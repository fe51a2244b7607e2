"""The loss against values worked out by hand, and chance as a function of (seed, step, picture)."""

# diffusers types some calls too narrowly.
# pyright: reportCallIssue=false

import math
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from tasks.common.seeds import generator_for
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.loss import cosine, diffusion_loss, draw, learning_rate, order

PLAIN = FinetuneSettings()
SHAPE = torch.Size((4, 2, 2))


def scheduler(prediction_type: Any) -> DDPMScheduler:
    """Two timesteps with alpha-bar 0.8 and 0.8 * 0.5 = 0.4: SNR 4 and 2/3."""
    return DDPMScheduler(num_train_timesteps=2, trained_betas=[0.2, 0.5], prediction_type=prediction_type)


def filled(*values: float) -> torch.Tensor:
    return torch.stack([torch.full((4, 2, 2), float(value)) for value in values])


def losses(prediction_type: str, gamma: float) -> list[float]:
    """Prediction 1, latent 2, noise 3, at timesteps 0 and 1."""
    return diffusion_loss(
        filled(1, 1), filled(2, 2), filled(3, 3), torch.tensor([0, 1]), scheduler(prediction_type), gamma
    ).tolist()


def velocity(alpha_bar: float) -> float:
    return math.sqrt(alpha_bar) * 3 - math.sqrt(1 - alpha_bar) * 2


def test_epsilon_is_the_squared_distance_to_the_noise():
    assert losses("epsilon", 0) == pytest.approx([4, 4])


def test_v_is_the_squared_distance_to_the_velocity():
    assert losses("v_prediction", 0) == pytest.approx([(1 - velocity(0.8)) ** 2, (1 - velocity(0.4)) ** 2])


def test_min_snr_weighs_epsilon_by_min_snr_over_snr():
    assert losses("epsilon", 1) == pytest.approx([4 * 1 / 4, 4 * 1])


def test_min_snr_weighs_v_by_min_snr_over_snr_plus_one():
    weights = [1 / (4 + 1), (2 / 3) / (2 / 3 + 1)]
    plain = [(1 - velocity(0.8)) ** 2, (1 - velocity(0.4)) ** 2]
    assert losses("v_prediction", 1) == pytest.approx([w * x for w, x in zip(weights, plain, strict=True)])


def test_each_picture_has_its_own_loss_over_all_its_latents_in_fp32():
    chance = torch.Generator().manual_seed(0)
    predicted, latents, noise = torch.randn((3, 3, 4, 2, 6), generator=chance)
    found = diffusion_loss(predicted.bfloat16(), latents, noise, torch.tensor([0, 1, 1]), scheduler("epsilon"))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, ((predicted.bfloat16().float() - noise) ** 2).flatten(1).sum(1) / 48)


def test_another_prediction_type_is_refused():
    with pytest.raises(ValueError, match="sample is not trained here"):
        losses("sample", 0)


def test_a_draw_depends_on_seed_step_and_picture_alone():
    first = draw(1, 5, "a", SHAPE, PLAIN, 1000)
    draw(1, 6, "b", SHAPE, PLAIN, 1000)
    again = draw(1, 5, "a", SHAPE, PLAIN, 1000)
    assert first.timestep == again.timestep
    assert torch.equal(first.noise, again.noise)
    for other in ((2, 5, "a"), (1, 6, "a"), (1, 5, "b")):
        assert not torch.equal(first.noise, draw(*other, SHAPE, PLAIN, 1000).noise)


def test_a_draw_is_the_same_in_every_version():
    """A resumed training must see the noise it would have seen: timestep, dropout, posterior noise, noise, offset."""
    settings = PLAIN.model_copy(update={"caption_dropout": 0.5, "offset_noise": 0.25})
    for picture in ("a", "b", "c", "d"):
        drawn, chance = draw(1, 5, picture, SHAPE, settings, 1000), generator_for(1, "training", 5, picture)
        assert drawn.timestep == int(torch.randint(0, 1000, (1,), generator=chance))
        assert drawn.drop_caption == (torch.rand(1, generator=chance).item() < 0.5)
        both = torch.randn((2, 4, 2, 2), generator=chance)
        assert torch.equal(drawn.posterior_noise, both[0])
        assert torch.equal(drawn.noise, both[1] + 0.25 * torch.randn((4, 1, 1), generator=chance))
    assert order(3, 2, 9) == torch.randperm(9, generator=generator_for(3, "order", 2)).tolist()


def test_timesteps_are_uniform_and_captions_dropped_as_often_as_set():
    settings = PLAIN.model_copy(update={"caption_dropout": 0.25})
    draws = [draw(0, step, "a", SHAPE, settings, 10) for step in range(4000)]
    counts = torch.bincount(torch.tensor([d.timestep for d in draws]), minlength=10)
    assert counts.min() > 320
    assert counts.max() < 480
    assert 0.22 < sum(d.drop_caption for d in draws) / 4000 < 0.28


def test_offset_noise_shifts_whole_channels():
    shifted = draw(0, 0, "a", SHAPE, PLAIN.model_copy(update={"offset_noise": 0.5}), 10).noise
    shift = shifted - draw(0, 0, "a", SHAPE, PLAIN, 10).noise
    assert torch.allclose(shift, shift[:, :1, :1].expand_as(shift), atol=1e-6)
    assert shift.abs().max() > 0.01


def test_each_epoch_sees_every_picture_once_in_its_own_order():
    assert sorted(order(0, 0, 50)) == list(range(50))
    assert order(0, 0, 50) == order(0, 0, 50) != order(0, 1, 50)


def test_the_rate_warms_up_then_falls_to_one_percent():
    settings = FinetuneSettings(learning_rate=1.0, warmup_steps=4, lr_schedule="cosine")
    rates = [learning_rate(step, 104, settings) for step in (0, 3, 4, 54, 104)]
    assert rates == pytest.approx([0.25, 1.0, 1.0, 0.01 + 0.99 / 2, 0.01])


def test_the_rate_is_a_table():
    def rates(*steps: int, **changes: Any) -> list[float]:
        settings = FinetuneSettings(learning_rate=1.0, **changes)
        return [learning_rate(step, 8, settings) for step in steps]

    assert rates(0, 3, 7) == [1, 1, 1]
    assert rates(0, 1, 2, 3, 4, 7, warmup_steps=4) == [0.25, 0.5, 0.75, 1, 1, 1]
    falling = rates(0, 1, 2, 4, 5, 8, warmup_steps=2, lr_schedule="cosine")
    assert falling == pytest.approx([0.5, 1, 1, 0.7525, 0.505, 0.01])
    assert cosine(0, 0, 3.0) == 3.0
    assert cosine(1, 1, 3.0) == pytest.approx(0.03)
