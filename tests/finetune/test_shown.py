"""The pictures on a training's page in Prefect: the newest is there, small enough, and the turn is marked."""

import base64
import io
import re

import numpy as np
from PIL import Image

from tasks.curves import loss_curve_png
from tasks.finetune.preview_files import keep_previews
from tasks.finetune.result import turning_point
from tasks.finetune.shown import losses_page, preview_page, preview_sheet
from tasks.records import EpochLoss, Training


def training(*held: float) -> Training:
    return Training(
        base_model="b", base_revision=None, dataset_fingerprint="f", snapshots=(), psnr_before=None, psnr_after=None,
        losses=tuple(EpochLoss(epoch=i, train_loss=0.5, heldout_loss=value) for i, value in enumerate(held)),
        truncated_captions=0, images_trained=9, images_held_out=1,
    )  # fmt: skip


def pictures_of(markdown: str) -> list[tuple[str, Image.Image]]:
    found = re.findall(r"!\[[^\]]*\]\(data:image/(\w+);base64,([^)]+)\)", markdown)
    return [(kind, Image.open(io.BytesIO(base64.b64decode(data)))) for kind, data in found]


def test_the_sheet_shows_the_base_and_the_newest_snapshot_in_six_columns_at_most(tmp_path):
    for epoch in range(0, 40, 2):
        keep_previews([Image.new("RGB", (32, 32), (epoch * 6, 0, prompt * 9)) for prompt in range(12)], epoch, tmp_path)
    sheet = preview_sheet(tmp_path, 12)
    assert sheet.size == (6 * 128, 20 + 6 * 128)
    assert sheet.getpixel((64, 84)) == (0, 0, 0)
    assert sheet.getpixel((5 * 128 + 64, 84)) == (38 * 6, 0, 0)
    assert sheet.getpixel((64, 84 + 5 * 128)) == (0, 0, 45)  # the sixth prompt: not the eleventh, though "10" < "2"


def test_a_page_of_noise_still_is_under_150_kb_and_names_the_prompts(tmp_path):
    chance = np.random.default_rng(0)
    for epoch in range(6):
        noise = [Image.fromarray(chance.integers(0, 255, (128, 128, 3), dtype=np.uint8)) for _ in range(6)]
        keep_previews(noise, epoch, tmp_path)
    page = preview_page(tmp_path, ("a cat", "<b>bold</b>", "c", "d", "e", "f"))
    assert len(page) < 150_000
    assert [(kind, picture.size) for kind, picture in pictures_of(page)] == [("jpeg", (768, 788))]
    assert "1. a cat\n2. &lt;b&gt;bold" in page


def dark(training: Training) -> np.ndarray:
    """How many black pixels each column of the middle of a curve has."""
    curve = loss_curve_png(training.losses, turning_point(training))
    assert curve
    return (np.asarray(Image.open(io.BytesIO(curve)).convert("L"))[:, 100:600] < 60).sum(axis=0)


def test_the_turn_of_the_held_out_loss_is_marked_in_the_curve():
    turning = dark(training(0.5, 0.4, 0.3, 0.4, 0.5))
    falling = dark(training(0.5, 0.4, 0.3, 0.2, 0.1))
    assert turning.max() > 50
    assert 240 < 100 + int(turning.argmax()) < 440  # in the middle of the picture, as epoch 2 is of the training
    assert falling.max() < 30


def test_the_curve_is_on_the_page_when_there_is_one():
    ((kind, curve),) = pictures_of(losses_page(training(0.5, 0.4)))
    assert (kind, curve.size) == ("png", (640, 300))
    assert len(losses_page(training(0.5, 0.4))) < 60_000
    assert pictures_of(losses_page(training())) == []
