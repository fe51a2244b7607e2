"""The objective with a UNet that tells what it was given: which latents, noise, timesteps and captions meet."""

# diffusers types some calls too narrowly.
# pyright: reportCallIssue=false

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from tasks.common.seeds import seed_for
from tasks.finetune.settings import FinetuneSettings
from tasks.finetune.training.latents import LatentCache, TextCache
from tasks.finetune.training.loss import Draw, draw
from tasks.finetune.training.objective import Objective, TrainingData, held_out_loss, predict, probe_loss

CPU = torch.device("cpu")
SCHEDULER: Any = DDPMScheduler(num_train_timesteps=50, trained_betas=[0.02] * 50)
KEPT = 0.98 ** torch.arange(1, 51)


class Echo(torch.nn.Module):
    """Predicts a tenth of what it sees, plus its timestep and the mean of its caption; keeps all it was given."""

    def __init__(self):
        super().__init__()
        self.given: list[tuple[torch.Tensor, ...]] = []

    def forward(self, noisy, timesteps, text, return_dict=True):
        assert return_dict is False
        self.given.append((noisy, timesteps, text))
        return (noisy / 10 + timesteps[:, None, None, None] + text.mean(dim=(1, 2))[:, None, None, None],)


def latents_of(count: int) -> LatentCache:
    chance = torch.Generator().manual_seed(count)
    mean, std = torch.randn((2, count, 4, 3, 2), generator=chance)
    return LatentCache(tuple(f"picture {i}" for i in range(count)), mean, std.abs())


TEXT = TextCache(torch.arange(24.0).reshape(4, 3, 2), torch.tensor([2, 1, 3, 2, 1]), 0)  # row 0: the empty caption


def chance_of(number: int, timestep: int, drop: bool = False) -> Draw:
    posterior, noise = torch.randn((2, 4, 3, 2), generator=torch.Generator().manual_seed(number))
    return Draw(posterior, noise, timestep, drop)


@pytest.mark.parametrize("gamma", [0.0, 3.0])
def test_each_picture_meets_its_own_noise_timestep_and_caption(gamma):
    latents, unet, rows = latents_of(5), Echo(), [3, 0, 2]
    draws = [chance_of(7, 0), chance_of(8, 49, drop=True), chance_of(9, 20)]
    losses = predict(unet, latents, TEXT, rows, draws, Objective(SCHEDULER, CPU, gamma))
    ((noisy, timesteps, text),) = unet.given
    assert timesteps.tolist() == [0, 49, 20]
    assert torch.equal(text, TEXT.embeddings[[2, 0, 3]])
    for i, (row, chance) in enumerate(zip(rows, draws, strict=True)):
        clean = latents.mean[row] + latents.std[row] * chance.posterior_noise
        kept = KEPT[chance.timestep]
        mixed = kept.sqrt() * clean + (1 - kept).sqrt() * chance.noise
        torch.testing.assert_close(noisy[i], mixed)
        predicted = mixed / 10 + chance.timestep + text[i].mean()
        snr = kept / (1 - kept)
        weight = min(snr, gamma) / snr if gamma else 1.0
        torch.testing.assert_close(losses[i], ((predicted - chance.noise) ** 2).mean() * weight)


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_the_held_out_loss_is_a_mean_over_pictures_and_five_timesteps(batch):
    """The same whatever the seed, the batches and the options of the training."""
    latents, unet = latents_of(3), Echo()
    text = TextCache(TEXT.embeddings, torch.tensor([3, 1, 2]), 0)
    data = TrainingData(latents_of(5), TEXT, latents, text)
    settings = FinetuneSettings(
        batch_size=batch, seed=9, caption_dropout=1.0, offset_noise=0.5, min_snr_gamma=2.0
    )  # fmt: skip
    found = held_out_loss(unet, data, settings, SCHEDULER, CPU)
    assert [len(noisy) for noisy, _, _ in unet.given] == _sizes(batch) * 5
    assert sorted({int(t) for _, times, _ in unet.given for t in times}) == [5, 15, 25, 35, 45]
    wanted = []
    for share, timestep in zip((0.1, 0.3, 0.5, 0.7, 0.9), (5, 15, 25, 35, 45), strict=True):
        for row, name in enumerate(latents.ids):
            plain = FinetuneSettings()
            chance = draw(0, -1, f"{name}/{share}", torch.Size((4, 3, 2)), plain, 50)
            fixed = Draw(chance.posterior_noise, chance.noise, timestep, False)
            wanted.append(predict(Echo(), latents, text, [row], [fixed], Objective(SCHEDULER, CPU)).item())
    assert found == pytest.approx(sum(wanted) / 15, rel=1e-5)


def _sizes(batch: int) -> list[int]:
    return {1: [1, 1, 1], 2: [2, 1]}.get(batch, [3])


def test_without_held_out_pictures_there_is_no_held_out_loss():
    settings = FinetuneSettings()
    for latents, text in ((None, None), (latents_of(1), None), (None, TEXT)):
        data = TrainingData(latents_of(5), TEXT, latents, text)
        assert held_out_loss(Echo(), data, settings, SCHEDULER, CPU) is None


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_probe_is_as_many_trained_pictures_at_the_very_same_noise(batch):
    """The same ones in whatever order they are trained, and all of them when more are held out."""
    held, few = replace(latents_of(3), ids=("held 0", "held 1", "held 2")), 2
    trained = latents_of(5)
    data = TrainingData(trained, TEXT, held, TEXT)
    rows = sorted(range(5), key=lambda row: seed_for(0, "probe", trained.ids[row]))
    settings = FinetuneSettings(batch_size=batch, seed=9, caption_dropout=1.0, min_snr_gamma=2.0)

    def wanted(rows: list[int]) -> float:
        losses = []
        for share, timestep in zip((0.1, 0.3, 0.5, 0.7, 0.9), (5, 15, 25, 35, 45), strict=True):
            for place, row in enumerate(rows):
                chance = draw(0, -1, f"{held.ids[place]}/{share}", torch.Size((4, 3, 2)), FinetuneSettings(), 50)
                fixed = Draw(chance.posterior_noise, chance.noise, timestep, False)
                losses.append(predict(Echo(), trained, TEXT, [row], [fixed], Objective(SCHEDULER, CPU)).item())
        return sum(losses) / len(losses)

    assert probe_loss(Echo(), data, settings, SCHEDULER, CPU) == pytest.approx(wanted(rows[:3]), rel=1e-5)
    small = LatentCache(trained.ids[:few], trained.mean[:few], trained.std[:few])
    both = sorted(range(few), key=lambda row: seed_for(0, "probe", trained.ids[row]))
    data = TrainingData(small, TextCache(TEXT.embeddings, TEXT.index[:few], 0), held, TEXT)
    assert probe_loss(Echo(), data, settings, SCHEDULER, CPU) == pytest.approx(wanted(both), rel=1e-5)
    assert probe_loss(Echo(), TrainingData(trained, TEXT, None, None), settings, SCHEDULER, CPU) is None


def test_the_held_out_loss_takes_no_gradient():
    unet = torch.nn.Conv2d(4, 4, 1)
    seen = []

    class Net(torch.nn.Module):
        def forward(self, noisy, timesteps, text, return_dict=True):
            seen.append(unet(noisy).requires_grad)
            return (noisy,)

    data = TrainingData(latents_of(5), TEXT, latents_of(2), TEXT)
    held_out_loss(Net(), data, FinetuneSettings(), SCHEDULER, CPU)
    assert seen
    assert not any(seen)
