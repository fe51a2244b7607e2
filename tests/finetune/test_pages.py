"""The pictures on a training's page in Prefect: the newest is there, small enough, and the turn is marked."""

import base64
import io
import re

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tasks.common.curves import loss_curve_png
from tasks.common.records import EpochLoss, Training
from tasks.finetune.pages import losses_page, preview_page, preview_sheet
from tasks.finetune.result import turning_point
from tasks.finetune.training.preview_files import keep_previews


def training(*held: float) -> Training:
    return Training(
        base_model="b", base_revision=None, dataset_fingerprint="f", snapshots=(), psnr_before=None, psnr_after=None,
        losses=tuple(EpochLoss(epoch=i, train_loss=0.5, heldout_loss=value) for i, value in enumerate(held)),
        truncated_captions=0, images_trained=9, images_held_out=1,
    )  # fmt: skip


def curve_of(training: Training) -> bytes | None:
    return loss_curve_png(training.losses, turning_point(training))


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


def test_the_columns_are_the_base_the_newest_and_those_between_at_even_distances(tmp_path):
    for epoch in range(8):
        keep_previews([Image.new("RGB", (32, 32), (epoch * 30, 9, 9))], epoch, tmp_path)
    sheet = preview_sheet(tmp_path, 1)
    assert sheet.size == (6 * 128, 20 + 128)
    assert [sheet.getpixel((column * 128 + 64, 84)) for column in range(6)] == [
        (epoch * 30, 9, 9) for epoch in (0, 1, 3, 4, 6, 7)
    ]
    for edge in ((0, 20), (127, 147), (128, 20), (767, 147)):  # each fills its cell, under a white line of names
        assert sheet.getpixel(edge) == ((0, 9, 9) if edge[0] < 128 else (30 if edge[0] < 640 else 210, 9, 9))
    assert sheet.getpixel((0, 0)) == sheet.getpixel((127, 19)) == (255, 255, 255)


def test_each_column_is_named_by_its_epoch(tmp_path):
    """A picture of the text by itself is what the sheet shows above each column."""
    for epoch in (0, 12):
        keep_previews([Image.new("RGB", (32, 32))], epoch, tmp_path)
    sheet = preview_sheet(tmp_path, 1)
    for column, name in enumerate(("base", "epoch 12")):
        wanted = Image.new("RGB", (128, 20), "white")
        ImageDraw.Draw(wanted).text((4, 2), name, fill="black", font=ImageFont.load_default(13))
        assert np.array_equal(np.asarray(sheet.crop((column * 128, 0, column * 128 + 128, 20))), np.asarray(wanted))


def test_few_snapshots_and_few_prompts_make_a_small_page(tmp_path):
    keep_previews([Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")], 0, tmp_path)
    ((kind, picture),) = pictures_of(preview_page(tmp_path, ("a cat", "a <dog>")))
    assert (kind, picture.size) == ("jpeg", (128, 276))
    (red, blue) = (picture.convert("RGB").getpixel((64, y)) for y in (84, 212))
    assert isinstance(red, tuple)
    assert isinstance(blue, tuple)
    assert (red[0] > 240, red[2] < 20, blue[0] < 20, blue[2] > 240) == (True,) * 4
    page = preview_page(tmp_path, ("a cat", "a <dog>"))
    assert page.startswith("![previews of the snapshots](data:image/jpeg;base64,")
    assert page.endswith(")\n\n1. a cat\n2. a &lt;dog&gt;")
    assert len(preview_page(tmp_path, tuple("abcdefgh")).split("\n\n")[1].split("\n")) == 6  # as the sheet has rows


def test_a_page_is_as_good_as_its_bytes_allow(tmp_path):
    """Plain colours are kept at the best quality; noise is not, though no worse than it must be."""
    keep_previews([Image.new("RGB", (128, 128), (250, 3, 77))], 0, tmp_path)
    ((_, plain),) = pictures_of(preview_page(tmp_path, ("a",)))
    best = io.BytesIO()
    preview_sheet(tmp_path, 1).save(best, "JPEG", quality=88)
    assert plain.quantization == Image.open(best).quantization  # type: ignore[attr-defined]
    chance = np.random.default_rng(0)
    for epoch in range(6):
        noise = [Image.fromarray(chance.integers(0, 255, (128, 128, 3), dtype=np.uint8)) for _ in range(6)]
        keep_previews(noise, epoch, tmp_path)
    page = preview_page(tmp_path, tuple("abcdef"))
    ((_, shown),) = pictures_of(page)
    fits = []
    for quality in (88, 70, 50, 30, 10):
        out = io.BytesIO()
        preview_sheet(tmp_path, 6).save(out, "JPEG", quality=quality)
        fits += [out] if out.tell() <= 105_000 else []
    assert shown.quantization == Image.open(fits[0]).quantization  # type: ignore[attr-defined]


def test_a_training_with_one_snapshot_has_no_curve_and_one_without_held_out_pictures_has():
    assert curve_of(training()) is None
    assert curve_of(training(0.5)) is None
    assert curve_of(training(0.5, 0.4)) is not None
    alone = training(0.5, 0.4).model_copy(
        update={"losses": tuple(EpochLoss(epoch=i, train_loss=0.5 - i / 10, heldout_loss=None) for i in range(3))}
    )
    assert dark(alone).max() < 30  # no turn to mark
    assert losses_page(alone).startswith("![train and held-out loss of each epoch](data:image/png;base64,")
    assert losses_page(training(0.5)).startswith("| epoch | train loss |")


def dark(training: Training) -> np.ndarray:
    """How many black pixels each column of the middle of a curve has."""
    curve = curve_of(training)
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
